"""An operator's routes, and the live table.

Owns the interface. How a change gets to the gateway is :mod:`mesh_gateway.routes`'.
"""

from __future__ import annotations

from typing import Any, Dict, List

from .attached import Attached
from .statistics import routing_table


class MeshRouter(Attached):
    """Sets routes in the gateway."""

    def update_route(self, destination: str, next_hop: str, cost: int = 1) -> None:
        """Frames for ``destination`` go by ``next_hop``, as soon as the gateway has confirmed it.

        Both are addresses, as in ``0x0005``, or names: of agents, of peers, or of the gateway. A name that nobody knows yet is
        kept until it is known. What is refused is an error in the log, and of :meth:`flush`.
        """
        self._agent().routes.put(destination, next_hop, cost)

    def remove_route(self, destination: str) -> None:
        """Takes an operator's route away, in the same manner."""
        self._agent().routes.put(destination, None)

    async def flush(self, timeout: float = 10.0) -> None:
        """Waits until the gateway has confirmed all changes. Raises why it refused one, or why one still waits after
        ``timeout`` seconds."""
        await (await self.session()).routes.flush(timeout)

    @property
    def routing_table(self) -> List[Dict[str, Any]]:
        """The gateway's routes, as they were within the last second: each ``destination``, ``next_hop``, ``cost``, ``origin``
        and more. What was set here and is not confirmed has ``pending``, which says why."""
        agent = self._agent()
        return routing_table(agent) + agent.routes.pending()

    async def fetch_routing_table(self) -> List[Dict[str, Any]]:
        """The gateway's routes, asked for now."""
        return routing_table(await self._fresh("routes"))
