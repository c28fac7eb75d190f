"""An operator's routes, and the live table.

Owns what names mean here: an address as in ``0x0005``, an agent, or a gateway over IP; the latter two stand for their node.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Dict, List

from .agent import Agent
from .attached import Attached
from .errors import UnknownReceiverError

log = logging.getLogger("mesh_gateway.routing")

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{4}\Z")


class MeshRouter(Attached):
    """Sets routes in the gateway."""

    async def update_route(self, destination: str, next_hop: str, cost: int = 1) -> None:
        """Frames for ``destination`` go by ``next_hop`` from now on."""
        agent = await self.session()
        to, via = await _node(agent, destination), await _node(agent, next_hop)
        await agent.ask("route_add", destination=to, next_hop=via, cost=cost)
        log.debug(
            "route to %s by %s, cost %s", to, via, cost, extra={"destination": to, "next_hop": via, "cost": cost}
        )

    async def remove_route(self, destination: str) -> None:
        """Takes an operator's route away."""
        agent = await self.session()
        to = await _node(agent, destination)
        await agent.ask("route_remove", destination=to)
        log.debug("route to %s removed", to, extra={"destination": to})

    async def routing_table(self) -> List[Dict[str, Any]]:
        """The gateway's routes now: each ``destination``, ``next_hop``, ``cost``, ``origin`` and more."""
        agent = await self.session()
        return list((await agent.ask("routes"))["routes"])


async def _node(agent: Agent, name: str) -> str:
    if _ADDRESS.match(name):
        return name.lower()
    bare, at, node = name.partition("@")
    if at and _ADDRESS.match(node):
        return node.lower()
    known = [*(await agent.ask("agents"))["agents"], *(await agent.ask("peers"))["links"]]
    for entry in known:
        if entry["name"] == bare and "node" in entry:
            return str(entry["node"])
    raise UnknownReceiverError(
        f"cannot route: the gateway knows no agent and no peer {name!r}; write the node's address, as in 0x0005, "
        "or see `mesh-gateway agents`"
    )
