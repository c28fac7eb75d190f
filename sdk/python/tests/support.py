"""What the tests share: a gateway for a test, and managers that are stopped after it.

Owns finding the package and the gateway. ``python3 -m unittest discover -s sdk/python/tests`` needs nothing installed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import unittest
from pathlib import Path
from typing import Any, Awaitable, List, Optional, TypeVar

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from mesh_gateway import GatewayStartError, MeshNetworkManager, SimulatedGateway  # noqa: E402
from mesh_gateway.simulated import find_gateway  # noqa: E402

T = TypeVar("T")

# Losses of connections are what many tests are about; what the client says of them is tested where it matters.
logging.getLogger("mesh_gateway").setLevel(logging.CRITICAL)
# asyncio's debug mode, which test cases have, tells of every callback that a busy machine was slow with.
logging.getLogger("asyncio").setLevel(logging.ERROR)

#: How long a test waits for what must come, in seconds: only a test that fails waits so long.
PATIENCE = 60.0


async def within(work: Awaitable[T]) -> T:
    """What must come."""
    return await asyncio.wait_for(work, PATIENCE)


class GatewayCase(unittest.IsolatedAsyncioTestCase):
    """A test with a gateway of its own."""

    nodes = 4
    options: List[str] = []

    async def asyncSetUp(self) -> None:
        try:
            find_gateway()
        except GatewayStartError as why:
            self.fail(str(why))
        self.gateway = SimulatedGateway(nodes=self.nodes, options=self.options)
        await self.gateway.start()
        self.addAsyncCleanup(self.gateway.stop)

    async def manager(self, name: Optional[str], **options: Any) -> MeshNetworkManager:
        """A manager on the gateway, stopped after the test."""
        mesh = MeshNetworkManager(name, gateway=self.gateway.endpoint, **options)
        await within(mesh.start())
        self.addAsyncCleanup(mesh.stop)
        return mesh
