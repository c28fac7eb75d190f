"""Which peers are well, by a threshold of one's own.

Owns only the choice; the figures are the gateway's, through :mod:`mesh_gateway.statistics`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .attached import Attached
from .statistics import THRESHOLD, healthy_peers, peer_health


class NetworkHealthMonitor(Attached):
    """Looks at the nodes that are near the gateway, or that messages went to."""

    def get_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The addresses of nodes where at least ``threshold`` (0 to 1) of what was sent arrives, as they were within the last
        second; empty before the gateway has answered.

        A near node that nothing was sent to is judged by what its link lets through.
        """
        return healthy_peers(self._agent(), threshold)

    @property
    def peer_health(self) -> Dict[str, Dict[str, Any]]:
        """What is known of each node by its address, within the last second; empty before the gateway has answered."""
        return peer_health(self._agent())

    async def fetch_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """:meth:`get_healthy_peers`, asked for now."""
        return healthy_peers(await self._fresh("health"), threshold)

    async def fetch_peer_health(self, node: Optional[str] = None) -> Dict[str, Any]:
        """:attr:`peer_health`, asked for now; or of one node, which is empty if the gateway has not heard of it."""
        known = peer_health(await self._fresh("health"))
        return known if node is None else known.get(node, {})
