"""What is asked of the gateway itself: its figures, its routes and links, the groups of an agent.

Owns who waits for which answer, bounded, and that a question is asked again after a lost connection. So only what may be
asked twice is asked here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .content import quote
from .errors import BusyError, ConnectionLostError, GatewayAwayError, MeshError
from .wire import Event

#: The most questions that wait for an answer. A guess.
MOST_ASKED = 1024


class Questions:
    """The questions that wait for an answer."""

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self._write: Optional[Callable[[str], None]] = None
        self._asked: Dict[int, Tuple[str, asyncio.Future[Event]]] = {}
        # Answers about groups have no number; they come in order.
        self._groups: Deque[asyncio.Future[List[str]]] = deque()
        self._group_error: Optional[MeshError] = None

    async def ask(self, op: str, timeout: float, fields: Mapping[str, Union[str, int]]) -> Event:
        """Asks, and waits for the event that answers. Raises why it was refused."""
        if len(self._asked) >= MOST_ASKED:
            raise BusyError(f"cannot ask {op!r}: {MOST_ASKED} questions wait already; wait for some answers")
        ref = self._number()
        told = "".join(f',"{key}":{quote(value) if isinstance(value, str) else value}' for key, value in fields.items())
        line = f'{{"op":"{op}","ref":{ref}{told}}}\n'
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._asked[ref] = (line, future)
        if self._write is not None:
            self._write(line)
        try:
            await asyncio.wait({future}, timeout=timeout)
            if future.done():
                return future.result()
            raise GatewayAwayError(f"the gateway did not answer {op!r} within {timeout:g} s: see whether it is there")
        finally:
            self._asked.pop(ref, None)
            future.cancel()

    async def ask_groups(
        self, op: str, timeout: float, groups: Sequence[str], types: Optional[Sequence[str]]
    ) -> List[str]:
        """Subscribes or unsubscribes; returns the groups that the agent hears now."""
        if self._write is None:
            raise GatewayAwayError(f"cannot {op} while the gateway is away: try again when it is back")
        if len(self._groups) >= MOST_ASKED:
            raise BusyError(f"cannot {op}: {MOST_ASKED} such questions wait already; wait for some answers")
        future: asyncio.Future[List[str]] = asyncio.get_running_loop().create_future()
        self._groups.append(future)
        names = ",".join(quote(group) for group in groups)
        only = "" if types is None else ',"types":[' + ",".join(quote(str(kind)) for kind in types) + "]"
        self._write(f'{{"op":"{op}","groups":[{names}]{only}}}\n')
        # One that is late keeps its place: the answers come in order.
        try:
            await asyncio.wait({future}, timeout=timeout)
            if future.done():
                return future.result()
        finally:
            future.cancel()
        raise GatewayAwayError(f"the gateway did not answer {op!r} within {timeout:g} s: see whether it is there, and ask again")

    # ---- what the gateway says ----

    def answered(self, event: Event) -> None:
        """An event that answers a question, or that nobody asked for."""
        if event["ev"] == "subscribed":
            self._subscribed(event)
            return
        _, future = self._asked.pop(event.get("ref", -1), ("", None))
        if future is not None and not future.done():
            future.set_result(event)

    def _subscribed(self, event: Event) -> None:
        error, self._group_error = self._group_error, None
        if not self._groups:
            return
        future = self._groups.popleft()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(event["groups"])

    def refused(self, ref: int, error: MeshError) -> bool:
        """The gateway would not answer; whether it is one of these questions."""
        _, future = self._asked.pop(ref, ("", None))
        if future is None:
            return False
        if not future.done():
            future.set_exception(error)
        return True

    def refused_groups(self, error: MeshError) -> bool:
        """An error without a number; whether it may be about groups. The ``subscribed`` that follows ends the question."""
        self._group_error = error if self._groups else None
        return bool(self._groups)

    # ---- the connection ----

    def resume(self, write: Callable[[str], None]) -> None:
        """There is a connection: asks again what has no answer."""
        self._write = write
        for line, _ in self._asked.values():
            write(line)

    def lost(self) -> None:
        """The connection has ended."""
        self._write = None
        self._group_error = None
        self._fail_groups(ConnectionLostError("the connection ended: subscribe again when it is back"))

    def close(self, why: MeshError) -> None:
        """Nothing more will come."""
        self._write = None
        asked, self._asked = list(self._asked.values()), {}
        for _, future in asked:
            if not future.done():
                future.set_exception(why)
        self._fail_groups(why)

    def _fail_groups(self, why: MeshError) -> None:
        while self._groups:
            future = self._groups.popleft()
            if not future.done():
                future.set_exception(why)
