"""Peers that this program has added: says in the log when one goes away and when it is back.

Owns waiting for one, and one task, which lives while there are such peers and asks the gateway now and then. The gateway
itself connects to them again; nothing here is needed for that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Dict, Optional

from .agent import Agent
from .errors import GatewayAwayError, MeshError, NoAnswerError
from .printable import printable

log = logging.getLogger("mesh_gateway.peers")

#: How often the gateway is asked, in seconds. A guess: soon enough for people.
EVERY = 2.0
#: The same while somebody waits for a peer. A guess.
SOON = 0.05
#: The least that the gateway is given to answer, in seconds, so that who has no time left still learns how the peer is. A guess.
LEAST = 1.0


async def until_up(agent: Agent, peer: str, timeout: float) -> str:
    """Waits until a peer is up; the address of its node."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    while True:
        try:
            event = await agent.ask("peers", max(until - loop.time(), LEAST))
        except GatewayAwayError as away:
            if agent.failure is not None:
                raise
            raise NoAnswerError(f"it is not known within {timeout:g} s whether the peer {peer} is up: {away}") from away
        found = [link for link in event["links"] if link["name"] == peer]
        if not found:
            raise NoAnswerError(f"cannot wait for the peer {peer!r}: there is none of that name; use add_peer first")
        if found[0]["state"] == "up":
            return str(found[0]["node"])
        if loop.time() >= until:
            why = found[0].get("why", found[0]["state"])
            raise NoAnswerError(
                f"the peer {peer} at {found[0]['address']} is not up within {timeout:g} s ({printable(why)}); the gateway keeps trying"
            )
        await asyncio.sleep(SOON)


class PeerWatch:
    """The peers, and the last state of each."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._states: Dict[str, str] = {}
        self._task: Optional[asyncio.Task[None]] = None

    def add(self, peer: str) -> None:
        """Watches a peer."""
        self._states[peer] = "connecting"
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="mesh_gateway peers")

    def remove(self, peer: str) -> None:
        """No longer watches it."""
        self._states.pop(peer, None)

    async def stop(self) -> None:
        """Ends the task."""
        self._states.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._states:
            try:
                await self.look()
            except MeshError as why:
                log.debug("cannot ask for peers: %s", why)
                if self._agent.failure is not None:
                    return
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Asks once, and reports what is new."""
        for link in (await self._agent.ask("peers"))["links"]:
            name, state = link["name"], link["state"]
            before = self._states.get(name)
            if before is None or before == state:
                continue
            self._states[name] = state
            extra = {"peer": name, "state": state, "address": link.get("address"), "why": link.get("why")}
            if state == "up":
                log.info("peer %s is up", name, extra=extra)
            elif state == "away":
                log.warning("peer %s is away (%s); the gateway keeps trying", name, printable(link.get("why", "?")), extra=extra)
