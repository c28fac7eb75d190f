"""Content of messages to bodies and back.

Owns one rule. It brings every value back as it was between two Python agents, and is readable to all others:

* ``bytes`` go as ``data``.
* A ``str`` goes as it is, unless it could be taken for JSON (``42``, ``true``, ``{"a": 1}``, ``"quoted"``); then it goes
  in JSON's quotes, so that reading the JSON gives the ``str`` back.
* Every other value goes as JSON.
* A ``text`` that is valid JSON is read as JSON; any other is a ``str``.

What an agent in another language sends as ``hello`` or ``21.5 C`` is a ``str`` here; ``21.5`` or ``{"t": 21.5}`` is that
value. What JSON cannot distinguish is not kept: a tuple comes back as a list, and keys that are not ``str`` as ``str``.
"""

from __future__ import annotations

import base64
import binascii
import json
from json.encoder import encode_basestring as quote
from typing import Any, Mapping, Tuple

from .errors import ContentError, ProtocolError, TooLargeError

__all__ = ["body_field", "quote", "read_body", "read_text", "write_body"]

# What a JSON text can begin with, JSON's white space included. Any other text need not be tried.
_MAY_BEGIN_JSON = frozenset('{["-0123456789tfn \t\n\r')


def _no_constant(word: str) -> Any:
    # Python's reader takes NaN and Infinity, which are not JSON.
    raise json.JSONDecodeError("not JSON", word, 0)


_read = json.JSONDecoder(parse_constant=_no_constant).decode
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def read_text(text: str) -> Any:
    """The value of a text body."""
    if not text or text[0] not in _MAY_BEGIN_JSON:
        return text
    try:
        return _read(text)
    except (ValueError, RecursionError):
        return text


def _needs_quotes(text: str) -> bool:
    if not text or text[0] not in _MAY_BEGIN_JSON:
        return False
    try:
        _read(text)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        # Too long a number or too deep for this Python, and perhaps not for the receiver's.
        return True
    return True


def write_body(content: Any, limit: int) -> Tuple[str, str]:
    """The name of the body's field, and what is to stand in it, before it is quoted.

    Raises :class:`ContentError` for what JSON cannot hold, :class:`TooLargeError` for more than ``limit`` bytes.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        raw = bytes(content)
        _check(len(raw), limit)
        return "data", base64.b64encode(raw).decode("ascii")
    if isinstance(content, str):
        text = _write(content) if _needs_quotes(content) else content
    else:
        try:
            text = _write(content)
        except (TypeError, ValueError, RecursionError) as why:
            raise ContentError(
                f"cannot send this {type(content).__name__}: {why}; send what JSON can hold, a str, or bytes"
            ) from None
    if text.isascii():
        _check(len(text), limit)
    else:
        try:
            _check(len(text.encode("utf-8")), limit)
        except UnicodeEncodeError as why:
            raise ContentError(f"cannot send this text: {why}; send it as bytes") from None
    return "text", text


def _check(length: int, limit: int) -> None:
    if length > limit:
        raise TooLargeError(f"cannot send a body of {length} bytes: {limit} is the most; send it in parts")


def body_field(content: Any, limit: int) -> str:
    """The body as it stands in a line of JSON."""
    field, value = write_body(content, limit)
    return f'"data":"{value}"' if field == "data" else f'"text":{quote(value)}'


def read_body(event: Mapping[str, Any]) -> Any:
    """The content of a ``message`` event."""
    text = event.get("text")
    if text is not None:
        return read_text(text)
    try:
        return base64.b64decode(event["data"], validate=True)
    except (KeyError, TypeError, binascii.Error) as why:
        raise ProtocolError(f"cannot read the body of a message: {why}; is it a gateway of the same version?") from why
