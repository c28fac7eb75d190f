"""Changes of routes that the gateway has not confirmed yet: valid here at once, confirmed in the background.

Owns the changes that are not confirmed yet, one for each destination, in order; and what names mean here: an address as in
``0x0005``, an agent, a gateway over IP or the gateway itself, which stand for their node. A change whose names nobody knows
yet is tried again until they are known.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, Dict, List, Optional

from .errors import BusyError, GatewayAwayError, MeshError, UnknownReceiverError
from .questions import Asker
from .snapshot import Snapshot
from .waiting import Waiters

log = logging.getLogger("mesh_gateway.routing")

#: The most changes that wait to be confirmed. A guess: far more than anyone has.
MOST_PENDING = 1024
#: How long after an attempt names that nobody knew are looked for again, in seconds.
AGAIN = 1.0

_ADDRESS = re.compile(r"(?:node:|[A-Za-z0-9._-]{1,32}@)?(0x[0-9a-fA-F]{4})\Z")


class Change:
    """A route to be set, or with no ``next_hop`` to be taken away."""

    __slots__ = ("destination", "next_hop", "cost", "why", "seen", "tried", "replaces")

    def __init__(self, destination: str, next_hop: Optional[str], cost: int, replaces: bool) -> None:
        self.destination = destination
        self.next_hop = next_hop
        self.cost = cost
        #: Why it is not confirmed, in words for people.
        self.why = "the gateway has not confirmed it yet"
        self.seen = False
        #: Whether it waits for a name only.
        self.tried = False
        #: Whether it stands in the place of one that was not confirmed either.
        self.replaces = replaces

    def __str__(self) -> str:
        if self.next_hop is None:
            return f"no route to {self.destination}"
        return f"the route to {self.destination} by {self.next_hop}, cost {self.cost}"


class RouteChanges:
    """The changes, and the task that brings them to the gateway."""

    def __init__(self, agent: Asker, snapshot: Snapshot) -> None:
        self._agent = agent
        self._snapshot = snapshot
        self._pending: Dict[str, Change] = {}
        self._errors: List[MeshError] = []
        self._task: Optional[asyncio.Task[None]] = None
        self._news = Waiters()
        self._progress = Waiters()

    def put(self, destination: str, next_hop: Optional[str], cost: int = 1) -> None:
        """Takes a change. The last one for a destination counts."""
        self._agent.check()
        older = self._pending.pop(destination, None)
        if len(self._pending) >= MOST_PENDING:
            raise BusyError(f"cannot change the route to {destination}: {MOST_PENDING} changes wait already; `await flush()` first")
        self._pending[destination] = Change(destination, next_hop, cost, older is not None)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="mesh_gateway routes")
        self._news.wake()

    def pending(self) -> List[Dict[str, Any]]:
        """The routes that are set and not confirmed, in the form of the gateway's table, with why as ``pending``."""
        return [
            {
                "destination": change.destination, "next_hop": change.next_hop, "cost": change.cost,
                "origin": "operator", "pending": change.why,
            }
            for change in self._pending.values()
            if change.next_hop is not None
        ]  # fmt: skip

    async def flush(self, timeout: float) -> None:
        """Waits until all is confirmed. Raises the first refusal since the last time, or why something still waits."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while self._pending and not self._errors and self._agent.failure is None:
            left = until - loop.time()
            if left <= 0:
                change = next(iter(self._pending.values()))
                error = UnknownReceiverError if change.tried else GatewayAwayError
                raise error(f"not done within {timeout} s: {change}: {change.why}; it is kept, and tried again")
            await self._progress.wait(left)
        errors, self._errors = self._errors, []
        if errors:
            raise errors[0]
        if self._pending:
            self._agent.check()

    async def part(self, within: float) -> None:
        """Gives each change one chance more, then gives all up: the session ends."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while self._agent.connected and not all(change.tried for change in self._pending.values()) and loop.time() < until:
            await self._progress.wait(until - loop.time())
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for change in self._pending.values():
            log.warning("given up: %s: %s", change, change.why, extra={"destination": change.destination})
        self._pending.clear()
        self._progress.wake_all()

    # ---- the task ----

    async def _run(self) -> None:
        while self._pending and self._agent.failure is None:
            names: Optional[Dict[str, str]] = None
            for change in list(self._pending.values()):
                change.seen = True
                try:
                    if names is None and not all(map(_ADDRESS.match, filter(None, (change.destination, change.next_hop)))):
                        names = await self._names()
                    await self._apply(change, names or {})
                except _Unknown as unknown:
                    self._wait_for_name(change, unknown)
                except GatewayAwayError as why:
                    change.why = str(why)
                except MeshError as why:
                    self._refused(change, why)
                self._progress.wake_all()
            if self._pending and all(change.seen for change in self._pending.values()):
                await self._news.wait(AGAIN)

    async def _apply(self, change: Change, names: Dict[str, str]) -> None:
        if self._pending.get(change.destination) is not change:
            # Another one came meanwhile.
            return
        to = _node(change.destination, names)
        via = None if change.next_hop is None else _node(change.next_hop, names)
        if via is None:
            await self._agent.ask("route_remove", destination=to)
        else:
            await self._agent.ask("route_add", destination=to, next_hop=via, cost=change.cost)
        self._snapshot.note_route(to, via, change.cost)
        self._end(change)
        log.debug("done: %s", change, extra={"destination": to, "next_hop": via, "cost": change.cost})

    def _wait_for_name(self, change: Change, unknown: _Unknown) -> None:
        if change.next_hop is None:
            self._refused(change, UnknownReceiverError(str(unknown)))
            return
        first, change.tried, change.why = not change.tried, True, str(unknown)
        if first:
            log.warning("waiting: %s: %s", change, unknown, extra={"destination": change.destination})

    def _refused(self, change: Change, why: MeshError) -> None:
        self._end(change)
        if change.next_hop is None and change.replaces:
            # What it should take away was never there.
            return
        self._errors.append(why)
        del self._errors[:-MOST_PENDING]
        log.error("cannot have %s: %s", change, why, extra={"destination": change.destination})

    def _end(self, change: Change) -> None:
        if self._pending.get(change.destination) is change:
            del self._pending[change.destination]

    async def _names(self) -> Dict[str, str]:
        """The node of each name that is known now."""
        links, agents = await asyncio.gather(self._agent.ask("peers"), self._agent.ask("agents"))
        welcome = self._agent.welcome
        known = [{"name": welcome["gateway"], "node": welcome["node"]}, *links["links"], *agents["agents"]]
        return {entry["name"]: str(entry["node"]) for entry in known if "node" in entry}


class _Unknown(Exception):
    """A name that nobody knows."""


def _node(name: str, names: Dict[str, str]) -> str:
    address = _ADDRESS.match(name)
    if address is not None:
        return address[1].lower()
    found = names.get(name)
    if found is None:
        raise _Unknown(
            f"the gateway knows no agent, no peer and no gateway {name!r} yet; `mesh-gateway agents` lists who is known, "
            "and an address, as in 0x0005, needs no name"
        )
    return found
