"""A drop-in for programs that are written against a ``StandardCommunicationProtocol``.

Owns the names such programs use; everything is :class:`mesh_gateway.MeshNetworkManager`'s.
"""

from __future__ import annotations

from typing import Any, Dict, Union

from .handlers import Handler
from .manager import MeshNetworkManager
from .message import MessageType


class MeshEnabledProtocol(MeshNetworkManager):
    """A manager under the names of a communication protocol."""

    def register_handler(self, type: Union[MessageType, str], handler: Handler) -> None:
        """:meth:`subscribe`."""
        self.subscribe(type, handler)

    async def get_statistics(self) -> Dict[str, Any]:
        """:meth:`get_network_statistics`."""
        return await self.get_network_statistics()


def create_mesh_enabled_protocol(agent_id: str, **options: Any) -> MeshEnabledProtocol:
    """A protocol for an agent of that name; ``options`` are those of :class:`MeshNetworkManager`. Start it with
    ``await protocol.start()``."""
    return MeshEnabledProtocol(agent_id, **options)
