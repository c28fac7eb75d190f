"""What needs a session to ask the gateway with: that of a manager, or one of its own.

Owns whose session it is, and closing it only in the second case.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Optional, TypeVar, Union

from .agent import Agent
from .endpoint import Endpoint
from .manager import MeshNetworkManager

Self = TypeVar("Self", bound="Attached")


class Attached:
    """Asks through ``mesh``, or through a session of its own that is opened when it is first needed.

    Close the latter with :meth:`close` or ``async with``.
    """

    def __init__(
        self,
        mesh: Union[MeshNetworkManager, Agent, None] = None,
        *,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
    ) -> None:
        self._mesh = mesh
        self._own: Optional[Agent] = None
        self._opening: Optional[asyncio.Task[None]] = None
        if mesh is None:
            name = f"py-{secrets.token_hex(4)}"
            self._own = Agent(name, gateway=gateway, token=token, token_file=token_file)

    async def session(self) -> Agent:
        """The session to ask with."""
        if self._own is None:
            assert self._mesh is not None
            return self._mesh if isinstance(self._mesh, Agent) else self._mesh.agent
        if not self._own.connected:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._own.start())
            await asyncio.shield(self._opening)
        return self._own

    async def close(self) -> None:
        """Ends a session of its own."""
        if self._own is not None:
            await self._own.stop()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
