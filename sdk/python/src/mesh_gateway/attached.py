"""What needs a session to ask the gateway with: that of a manager, or one of its own.

Owns whose session it is, and closing it only in the second case.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Optional, TypeVar, Union

from .agent import Agent
from .endpoint import Endpoint, find_endpoint, find_token
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
        fingerprint: Optional[str] = None,
    ) -> None:
        self._mesh = mesh
        self._own: Optional[Agent] = None
        self._opening: Optional[asyncio.Task[Agent]] = None
        self._gateway, self._token = find_endpoint(gateway, fingerprint=fingerprint), find_token(token, token_file)

    async def session(self) -> Agent:
        """The session to ask with."""
        if self._mesh is not None:
            return self._mesh if isinstance(self._mesh, Agent) else self._mesh.agent
        if self._own is not None and self._own.failure is None:
            return self._own
        if self._opening is None or self._opening.done():
            self._opening = asyncio.ensure_future(self._open())
        # Several may wait for it, and one of them may be cancelled.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Agent:
        agent = Agent(f"py-{secrets.token_hex(4)}", gateway=self._gateway, token=self._token)
        await agent.start()
        self._own = agent
        return agent

    async def close(self) -> None:
        """Ends a session of its own."""
        if self._own is not None:
            await self._own.stop()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
