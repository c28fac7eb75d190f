"""What is asked of the gateway itself: its figures, its routes and links, the groups of an agent.

Owns who waits for which answer, bounded, and that a question is asked again after a lost connection. So only what may be
asked twice is asked here.
"""

from __future__ import annotations

import asyncio
from typing import Callable, Dict, Mapping, Optional, Protocol, Sequence, Tuple, Union

from .content import quote
from .errors import BusyError, GatewayAwayError, MeshError
from .wire import Event

#: The most questions that wait for an answer. A guess.
MOST_ASKED = 1024
#: How long the gateway may take to answer a question about itself, in seconds, also across a lost connection. A guess.
ANSWER_WITHIN = 30.0

#: What a field of a question may be.
Field = Union[str, int, Sequence[str]]


def _written(value: Field) -> str:
    if isinstance(value, int):
        return str(value)
    return quote(value) if isinstance(value, str) else "[" + ",".join(quote(str(each)) for each in value) + "]"


class Asker(Protocol):
    """What asks the gateway over a session that comes and goes, as those see it that live beside it."""

    name: str
    welcome: Event

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""

    @property
    def failure(self) -> Optional[MeshError]:
        """Why there will be no session any more, if so."""

    def check(self) -> None:
        """Raises why there is no session and will be none."""

    async def ask(self, op: str, timeout: float = ANSWER_WITHIN, **fields: Field) -> Event:
        """Asks the gateway itself, also across a lost connection; only for what may be asked twice."""


class Questions:
    """The questions that wait for an answer."""

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self._write: Optional[Callable[[str], None]] = None
        self._asked: Dict[int, Tuple[str, asyncio.Future[Event]]] = {}

    async def ask(self, op: str, timeout: float, fields: Mapping[str, Field]) -> Event:
        """Asks, and waits for the event that answers. Raises why it was refused."""
        if len(self._asked) >= MOST_ASKED:
            raise BusyError(f"cannot ask {op!r}: {MOST_ASKED} questions wait already; wait for some answers")
        ref = self._number()
        others = "".join(f',"{key}":{_written(value)}' for key, value in fields.items())
        line = f'{{"op":"{op}","ref":{ref}{others}}}\n'
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._asked[ref] = (line, future)
        if self._write is not None:
            self._write(line)
        try:
            await asyncio.wait({future}, timeout=timeout)
            if future.done():
                return future.result()
            raise GatewayAwayError(f"the gateway did not answer {op!r} within {timeout:g} s; see whether it is there")
        finally:
            self._asked.pop(ref, None)
            future.cancel()

    # ---- what the gateway says ----

    def answered(self, event: Event) -> None:
        """An event that answers a question, or that nobody asked for."""
        _, future = self._asked.pop(event.get("ref", -1), ("", None))
        if future is not None and not future.done():
            future.set_result(event)

    def refused(self, ref: int, error: MeshError) -> bool:
        """The gateway would not answer; whether it is one of these questions."""
        _, future = self._asked.pop(ref, ("", None))
        if future is None:
            return False
        if not future.done():
            future.set_exception(error)
        return True

    # ---- the connection ----

    def resume(self, write: Callable[[str], None]) -> None:
        """There is a connection: asks again what has no answer."""
        self._write = write
        for line, _ in self._asked.values():
            write(line)

    def lost(self) -> None:
        """The connection has ended."""
        self._write = None

    def close(self, why: MeshError) -> None:
        """Nothing more will come."""
        self._write = None
        asked, self._asked = list(self._asked.values()), {}
        for _, future in asked:
            if not future.done():
                future.set_exception(why)
