"""What the gateway said last of the network, at most a second old while there is a session.

Owns when it is asked again and what was answered; the form in which programs see it is :mod:`mesh_gateway.statistics`'.
Nothing of it is written anywhere: a gateway answers such questions from memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Dict, Optional

from .errors import MeshError
from .questions import Asker

log = logging.getLogger("mesh_gateway.peers")

#: How long after an answer the gateway is asked again, in seconds: below a second, the round trip included.
EVERY = 0.9
#: How long whoever starts waits for the first answers, in seconds. A guess: far more than a gateway takes.
FIRST_WITHIN = 1.0

# What is asked, and what stands for the answer before there is one.
_NOTHING: Dict[str, Dict[str, Any]] = {
    "health": {
        "overall": {"settled": 0}, "peers": [], "by_type": {}, "by_priority": {}, "by_outcome": {},
        "airtime": {"frames_sent": 0, "sent_us": 0},
    },
    "peers": {"peers": [], "links": []},
    "routes": {"routes": []},
    "status": {"health": ["the gateway has not been asked yet"], "uptime_ms": 0, "radio": {}, "store": {}},
}  # fmt: skip


class Snapshot:
    """The last answers, and the task that asks for new ones."""

    def __init__(self, agent: Asker) -> None:
        self._agent = agent
        self._task: Optional[asyncio.Task[None]] = None
        self._trouble = ""
        #: The last answer to each question.
        self.answers: Dict[str, Dict[str, Any]] = dict(_NOTHING)
        #: When all were answered, by this machine's clock, in milliseconds since 1970.
        self.as_of_ms: Optional[int] = None

    async def refresh(self, *wanted: str) -> None:
        """Asks for what is wanted, or all of it, now. Raises why a part could not be had; the rest is new all the same."""
        # What comes back describes a moment behind this one.
        now = time.time()
        ops = wanted or tuple(_NOTHING)
        answers = await asyncio.gather(*(self._agent.ask(op) for op in ops), return_exceptions=True)
        wrong = None
        for op, answer in zip(ops, answers):
            if isinstance(answer, BaseException):
                wrong = wrong or answer
            else:
                self.answers[op] = answer
        if wrong is not None:
            raise wrong
        if not wanted:
            self.as_of_ms = int(now * 1000)

    def note_route(self, destination: str, next_hop: Optional[str], cost: int) -> None:
        """The gateway has confirmed an operator's route, or with no ``next_hop`` that there is none: that need not be asked."""
        kept = [
            route for route in self.answers["routes"]["routes"]
            if (route["destination"], route.get("origin")) != (destination, "operator")
        ]  # fmt: skip
        if next_hop is not None:
            kept.append({"destination": destination, "next_hop": next_hop, "cost": cost, "origin": "operator", "age_ms": 0})
        self.answers["routes"] = {**self.answers["routes"], "routes": kept}

    def keep(self, every: float = EVERY) -> None:
        """Asks again and again from now on, until :meth:`stop`; needs a running event loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(every), name="mesh_gateway snapshot")

    async def first(self, within: float = FIRST_WITHIN) -> None:
        """Waits for the first answers, for a while: who starts may look at once."""
        try:
            await asyncio.wait_for(self.refresh(), within)
        except (MeshError, asyncio.TimeoutError) as why:
            self._warn(why)

    async def stop(self) -> None:
        """Ends the task; what was answered stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, every: float) -> None:
        while self._agent.failure is None:
            try:
                if self._agent.connected:
                    await self.refresh()
                    self._trouble = ""
            except MeshError as why:
                self._warn(why)
            await asyncio.sleep(every)

    def _warn(self, why: BaseException) -> None:
        trouble = str(why) or "no answer in time"
        if trouble != self._trouble and self._agent.failure is None:
            self._trouble = trouble
            log.warning("cannot ask the gateway how the network is: %s", trouble, extra={"agent": self._agent.name})
