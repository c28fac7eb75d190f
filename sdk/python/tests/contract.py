"""The contract of agents and gateways, ``sdk/contract/transcripts.txt``, as objects.

Owns how that file is read, which its ``README.md`` explains. Binary forms are left out: this client speaks JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

FILE = Path(__file__).resolve().parents[2] / "contract" / "transcripts.txt"


class Line(NamedTuple):
    """A line that is said. ``connection`` is empty among the words; ``wrong`` ones are wrong on purpose."""

    number: int
    connection: str
    agents: bool
    said: Dict[str, Any]
    wrong: bool

    def __str__(self) -> str:
        return f"line {self.number}: {json.dumps(self.said)}"


class Contract:
    """All lines, by the title of their transcript; those of ``words`` are said to nobody."""

    def __init__(self) -> None:
        self.transcripts: Dict[str, List[Line]] = {}
        title, connection, wrong = "", "", False
        for number, text in enumerate(FILE.read_text(encoding="utf-8").split("\n"), 1):
            mark, _, rest = text.partition(" ")
            if mark == "==":
                title, connection = rest, ""
                self.transcripts[title] = []
            elif mark == "#":
                connection = rest
            elif mark == "!":
                wrong = True
            elif mark in ("<", ">"):
                said = json.loads(rest)
                self.transcripts[title].append(Line(number, connection, mark == ">", said, wrong and mark == ">"))
                wrong = wrong and mark != ">"
            else:
                assert mark in ("", "--", "~", "="), f"line {number} is of no kind that is known here: {text}"
        self.words = self.transcripts.pop("words")

    def connections(self) -> List[List[Line]]:
        """The lines of each connection, and each of the words by itself."""
        found: List[List[Line]] = []
        for lines in self.transcripts.values():
            by_name: Dict[str, List[Line]] = {}
            for line in lines:
                by_name.setdefault(line.connection, []).append(line)
            found += by_name.values()
        return found + [[line] for line in self.words]
