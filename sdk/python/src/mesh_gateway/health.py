"""Which peers are well, by a threshold of one's own.

Owns only the choice; the figures are the gateway's, through :mod:`mesh_gateway.statistics`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .attached import Attached
from .statistics import THRESHOLD, healthy, others


class NetworkHealthMonitor(Attached):
    """Looks at the nodes that are near the gateway, or that messages went to."""

    async def get_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The addresses of nodes where at least ``threshold`` (0 to 1) of what was sent arrives.

        A near node that nothing was sent to is judged by what its link lets through.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"a threshold is a share from 0 to 1, not {threshold}")
        return [node for node, peer in (await self._peers()).items() if healthy(peer, threshold)]

    async def peer_health(self, node: Optional[str] = None) -> Dict[str, Any]:
        """What is known of each node by its address, or of one; that is empty if the gateway has not heard of it."""
        known = await self._peers()
        return known if node is None else known.get(node, {})

    async def _peers(self) -> Dict[str, Dict[str, Any]]:
        agent = await self.session()
        return {str(peer["node"]): peer for peer in others(await agent.ask("health"), agent.node)}
