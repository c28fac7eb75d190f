"""A drop-in for programs that are written against a ``StandardCommunicationProtocol``.

Owns the names such programs use; everything is :class:`mesh_gateway.MeshNetworkManager`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Union

from .agent import HEARTBEAT
from .endpoint import Endpoint
from .handlers import Handler
from .manager import MeshNetworkManager
from .message import MessageType


class MeshEnabledProtocol(MeshNetworkManager):
    """A manager under the names of a communication protocol."""

    def register_handler(self, type: Union[MessageType, str], handler: Handler) -> None:
        """:meth:`subscribe`."""
        self.subscribe(type, handler)

    def get_statistics(self) -> Dict[str, Any]:
        """:meth:`get_network_statistics`."""
        return self.get_network_statistics()

    async def fetch_statistics(self) -> Dict[str, Any]:
        """:meth:`fetch_network_statistics`."""
        return await self.fetch_network_statistics()


def create_mesh_enabled_protocol(
    agent_id: str,
    port: Optional[int] = None,
    *,
    gateway: Union[str, Endpoint, None] = None,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    fingerprint: Optional[str] = None,
    connect_timeout: float = 10.0,
    heartbeat: float = HEARTBEAT,
    **options: Any,
) -> MeshEnabledProtocol:
    """A protocol for an agent of that name; arguments and ``options`` are those of :class:`MeshNetworkManager`. Start it with
    ``await protocol.start()``."""
    return MeshEnabledProtocol(
        agent_id, port, gateway=gateway, token=token, token_file=token_file, fingerprint=fingerprint,
        connect_timeout=connect_timeout, heartbeat=heartbeat, **options,
    )  # fmt: skip
