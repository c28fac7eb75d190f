"""Waiting until something may have changed, with a bound on the time, without losing a wake-up to a cancelled waiter.

Owns nothing but the waiters: whoever is woken looks again at what it waits for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Deque, Optional


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


class Waiters:
    """Those who wait, first come first woken."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: Deque[asyncio.Future[bool]] = deque()

    async def wait(self, seconds: Optional[float] = None) -> bool:
        """Waits to be woken; ``False`` if that did not happen within ``seconds``."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(waiter)
        timer = None if seconds is None else loop.call_later(max(seconds, 0), _expire, waiter)
        woken = False
        try:
            woken = await waiter
            return woken
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                woken = True
                self.wake()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if not woken:
                self._forget(waiter)

    def _forget(self, waiter: asyncio.Future[bool]) -> None:
        try:
            self._waiting.remove(waiter)
        except ValueError:
            pass

    def wake(self, most: int = 1) -> None:
        """Wakes the ``most`` who have waited longest."""
        waiting = self._waiting
        while waiting and most > 0:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(True)
                most -= 1

    def wake_all(self) -> None:
        """Wakes everyone."""
        self.wake(len(self._waiting))
