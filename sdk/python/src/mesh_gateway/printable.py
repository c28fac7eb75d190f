"""Text of others, made fit to be printed.

Owns what may reach a terminal: whatever a message says, it moves no cursor, changes no colour, begins no line of its own, reverses
no text, and can be written in any encoding.
"""

from __future__ import annotations

import unicodedata

# They join letters and the parts of a picture, and do nothing else.
_JOINERS = "\u200c\u200d"


def printable(text: str, encoding: str = "utf-8") -> str:
    """The text on one line, with what a terminal would obey, and what ``encoding`` lacks, written out, as in ``\\x1b``."""
    if not text.isprintable():
        text = "".join(map(_plain, text))
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _plain(char: str) -> str:
    if char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs":
        return char
    # As Python writes it, whatever it is.
    return char.encode("unicode_escape").decode("ascii")
