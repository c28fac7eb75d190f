"""Which peers are well, by a threshold of one's own.

Owns only the choice; the figures are the gateway's, through :mod:`mesh_gateway.statistics`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .attached import Attached
from .statistics import THRESHOLD, healthy, peer_health


class NetworkHealthMonitor(Attached):
    """Looks at the gateway's near nodes."""

    async def get_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The addresses of nodes where at least ``threshold`` (0 to 1) of what was sent arrives.

        A node that nothing was sent to is judged by what its link lets through.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"a threshold is a share from 0 to 1, not {threshold}")
        _, peers = await peer_health(await self.session())
        return [str(peer["node"]) for peer in peers if healthy(peer, threshold)]

    async def peer_health(self, node: Optional[str] = None) -> Dict[str, Any]:
        """What is known of each near node by its address, or of one; that is empty if the node is not near.

        ``source`` in each says where the figures are from: ``gateway``, or ``receipts`` while it has no ``health``.
        """
        source, peers = await peer_health(await self.session())
        known = {str(peer["node"]): {**peer, "source": source} for peer in peers}
        return known if node is None else known.get(node, {})
