"""Handlers of a program: each has its lane of the inbox, and tasks that take from it.

Owns that a message is acknowledged after its handler has returned, and what happens when a handler fails: that is
logged, and the message is acknowledged, since it would fail again for ever and stop the inbox behind it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, Awaitable, Callable, List, Union

from .errors import MeshError
from .inbox import Inbox
from .message import Message, MessageType

log = logging.getLogger("mesh_gateway.handlers")

#: A function of a message, plain or ``async``.
Handler = Callable[[Message], Union[Awaitable[Any], Any]]


class Subscription:
    """A handler at work; :meth:`cancel` ends it."""

    def __init__(self, inbox: Inbox, kind: MessageType, handler: Handler, concurrency: int) -> None:
        if kind in inbox.lanes:
            raise ValueError(f"{kind} has a handler already: cancel that one first")
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.kind = kind
        self._inbox = inbox
        self._handler = handler
        self._lane = inbox.lane_for(kind)
        self._tasks: List[asyncio.Task[None]] = [
            asyncio.create_task(self._serve(), name=f"mesh_gateway {kind} handler") for _ in range(concurrency)
        ]

    def cancel(self) -> None:
        """Takes the handler away; a message that is being handled is not acknowledged."""
        for task in self._tasks:
            task.cancel()
        if self._inbox.lanes.get(self.kind) is self._lane:
            self._inbox.drop_lane(self.kind)

    async def ended(self) -> None:
        """Waits until its tasks have ended, after :meth:`cancel`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            try:
                message = await self._lane.take()
            except MeshError:
                return
            assert message is not None
            try:
                result = self._handler(message)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception(
                    "the handler of %s failed on %s from %s", self.kind, message.id, message.source,
                    extra={"message_id": message.id, "sender": message.source},
                )  # fmt: skip
            self._inbox.handled(message)
