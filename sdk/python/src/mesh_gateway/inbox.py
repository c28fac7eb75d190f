"""Messages for the program: what is unread, what is being handled, what may be acknowledged.

Owns cursors and credits. A message counts as handled when the program says so, in any order; the gateway gets an acknowledgement up to
where everything is handled, and gets a credit back for each. So at most ``limit`` messages are in memory. After a lost
connection the gateway shows again what was not acknowledged; what this program has already is recognised by its cursor.

A gateway that comes back with an empty disk counts from 1 again: another *life* of the inbox. It is known by a cursor
that it does not know, by its node, or by what it shows first: in the same life that is the first open message. Until
that is seen, nothing is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Callable, Deque, Dict, Optional, Tuple

from .errors import MeshError
from .message import Message, MessageType
from .waiting import Waiters

log = logging.getLogger("mesh_gateway.agent")

#: How long a lone acknowledgement waits for more, in seconds. A guess: below what anyone notices.
ACK_WITHIN = 0.01


class Lane:
    """A queue of unread messages and those who wait for one."""

    def __init__(self) -> None:
        self.unread: Deque[Message] = deque()
        self.waiters = Waiters()
        self.closed: Optional[MeshError] = None

    def put(self, message: Message) -> None:
        """Adds a message."""
        self.unread.append(message)
        self.waiters.wake()

    async def take(self, timeout: Optional[float] = None) -> Optional[Message]:
        """The next message, or ``None`` if none came in time. Raises why nothing more can come."""
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while not self.unread:
            if self.closed is not None:
                raise self.closed
            if until is None:
                await self.waiters.wait()
            elif not await self.waiters.wait(until - loop.time()) and loop.time() >= until:
                return None
        return self.unread.popleft()

    def close(self, error: MeshError) -> None:
        """What is unread can still be taken, then ``error`` is raised."""
        self.closed = error
        self.waiters.wake_all()


class Inbox:
    """The lanes, and which cursors are open."""

    def __init__(self, limit: int, on_new_life: Callable[[], None], extra: Callable[[], Dict[str, Any]]) -> None:
        self.limit = limit
        self._on_new_life = on_new_life
        self._extra = extra
        self._warned = False
        self.main = Lane()
        self.lanes: Dict[MessageType, Lane] = {}
        self._write: Optional[Callable[[str], None]] = None
        # Cursors of messages the program has and has not handled, ascending, and what distinguishes each message from others.
        self._open: Dict[int, Tuple[str, int]] = {}
        # What the gateway must show first in this session, if it knows us.
        self._expected: Optional[Tuple[int, Tuple[str, int]]] = None
        self._node = ""
        self._life = 0
        self._highest = 0
        self._acked = 0
        self._to_grant = 0
        self._timer: Optional[asyncio.TimerHandle] = None
        self._begun = False

    # ---- the connection ----

    def resume_cursor(self) -> Optional[int]:
        """The cursor to go on behind; none for the first connection."""
        return self._ackable() if self._begun else None

    def begin(self, write: Callable[[str], None], node: str, resumed_from: int, credits: int) -> bool:
        """There is a connection; whether the inbox is, for all that is known now, the one we knew."""
        remembers = not self._begun or (resumed_from >= self._ackable() and node == self._node)
        if not remembers or not self._begun:
            self._begin_life(resumed_from)
        self._begun = True
        self._write, self._node = write, node
        self._acked = resumed_from
        self.limit = min(self.limit, credits)
        self._to_grant = 0
        shown = ((cursor, it) for cursor, it in self._open.items() if cursor > resumed_from)
        self._expected = next(shown, None)
        return remembers

    def forget(self) -> None:
        """The next connection is as the first: nothing was kept for it."""
        self._begun = False

    def _begin_life(self, behind: int) -> None:
        self._life += 1
        self._open.clear()
        self._highest = behind

    def lost(self) -> None:
        """The connection has ended."""
        self._write = None
        self._stop_timer()

    def close(self, error: MeshError) -> None:
        """Nothing more will come."""
        self.lost()
        for lane in [self.main, *self.lanes.values()]:
            lane.close(error)

    # ---- what comes ----

    def is_new(self, cursor: int) -> bool:
        """Notes the cursor of a receipt; whether it was not seen before. A receipt is handled by being seen."""
        if self._expected is not None:
            self._recognise(cursor, ("", 0))
        if cursor <= self._highest:
            return False
        self._highest = cursor
        return True

    def admit(self, message: Message) -> bool:
        """Notes a message; whether it is a new one, to be handled."""
        cursor = message.cursor
        if cursor is None:
            self._to_grant += 1
            return True
        it = (message.id, message.at_us)
        if self._expected is not None:
            self._recognise(cursor, it)
        if cursor <= self._highest:
            if cursor not in self._open:
                self._to_grant += 1
            return False
        self._highest = cursor
        self._open[cursor] = it
        message.life = self._life
        return True

    def _recognise(self, cursor: int, it: Tuple[str, int]) -> None:
        expected = self._expected
        if expected is None or cursor < expected[0]:
            return
        self._expected = None
        if expected != (cursor, it):
            self._begin_life(cursor - 1)
            self._on_new_life()

    def put(self, message: Message) -> None:
        """Puts a message into its lane."""
        (self.lanes.get(message.type) or self.main).put(message)

    def lane_for(self, kind: MessageType) -> Lane:
        """A lane of its own for a type; what is unread of it moves there."""
        lane = Lane()
        lane.closed = self.main.closed
        self.lanes[kind] = lane
        rest = list(self.main.unread)
        self.main.unread.clear()
        for message in rest:
            self.put(message)
        return lane

    def drop_lane(self, kind: MessageType) -> None:
        """Messages of the type go into the main lane again."""
        lane = self.lanes.pop(kind)
        for message in lane.unread:
            self.main.put(message)

    # ---- what is handled ----

    def handled(self, message: Message) -> None:
        """The program is done with a message. Saying so twice does no harm."""
        cursor = message.cursor
        if cursor is None or message.life != self._life or cursor not in self._open:
            return
        del self._open[cursor]
        self._to_grant += 1
        if self._to_grant * 4 >= self.limit:
            self.flush()
        else:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Acknowledges what is handled within a moment."""
        if self._timer is None and self._write is not None and self._expected is None:
            self._timer = asyncio.get_running_loop().call_later(ACK_WITHIN, self.flush)

    def flush_if_due(self) -> None:
        """At the end of a batch of events: what came may have been receipts, which are handled by now."""
        if self._highest - self._acked >= self.limit and self._ackable() - self._acked >= self.limit:
            self.flush()
        elif self._highest > self._acked or self._to_grant:
            self.flush_soon()
        if len(self._open) >= self.limit and not self._warned:
            self._warned = True
            extra = self._extra()
            log.warning(
                "%s has all the %s messages it takes at a time, answers to its questions may wait behind them: "
                "call receive_message, or subscribe to their types", extra["agent"], self.limit, extra=extra,
            )  # fmt: skip

    def flush(self) -> None:
        """Acknowledges what is handled."""
        self._stop_timer()
        if self._write is None or self._expected is not None:
            return
        ackable = self._ackable()
        if ackable > self._acked:
            self._acked = ackable
            self._write(f'{{"op":"ack","cursor":{ackable}}}\n')
        if self._to_grant:
            self._write(f'{{"op":"credit","n":{self._to_grant}}}\n')
            self._to_grant = 0

    def _ackable(self) -> int:
        return next(iter(self._open)) - 1 if self._open else self._highest

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
