"""What needs a session to ask the gateway with: that of a manager, or one of its own.

Owns whose session it is, and closing it only in the second case.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Optional, TypeVar, Union

from .agent import HEARTBEAT, Agent
from .endpoint import Endpoint
from .errors import NotStartedError
from .manager import MeshNetworkManager, Whereabouts

Self = TypeVar("Self", bound="Attached")


class Attached:
    """Asks through ``mesh``. Where that and all the arguments are left out, through the manager that this program started last,
    while one runs, at the gateway that ``MESH_GATEWAY`` names if it names one. Else through a session of its own.

    A session of its own is opened in the background when it is first needed, or by ``async with``; close it with :meth:`close`.
    """

    def __init__(
        self,
        mesh: Union[MeshNetworkManager, Agent, None] = None,
        *,
        port: Optional[int] = None,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        connect_timeout: float = 10.0,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._mesh = mesh
        self._where = Whereabouts(port, gateway, token, token_file, fingerprint)
        self._connect_timeout, self._heartbeat = connect_timeout, heartbeat
        self._own: Optional[Agent] = None

    def _agent(self) -> Agent:
        """The session to ask with, which may still be connecting."""
        if self._mesh is not None:
            return self._mesh if isinstance(self._mesh, Agent) else self._mesh.agent
        if self._own is not None and not isinstance(self._own.failure, NotStartedError):
            return self._own
        running = self._where.running()
        if running is not None:
            return running.agent
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise NotStartedError(
                f"a {type(self).__name__} without an event loop has no session: use it in a coroutine, or SyncMesh"
            ) from None
        self._own = Agent(None, gateway=self._where.access, heartbeat=self._heartbeat)
        self._own.begin()
        self._own.snapshot.keep()
        return self._own

    async def session(self) -> Agent:
        """The session to ask with; waits until it is there if it is one of its own."""
        agent = self._agent()
        if agent is self._own:
            await agent.until_up(self._connect_timeout)
        return agent

    async def _fresh(self, wanted: str) -> Agent:
        """The same, with this answer as it is now."""
        agent = await self.session()
        await agent.snapshot.refresh(wanted)
        return agent

    async def close(self) -> None:
        """Ends a session of its own."""
        if self._own is not None:
            await self._own.stop()

    async def __aenter__(self: Self) -> Self:
        try:
            agent = await self.session()
        except BaseException:
            await self.close()
            raise
        # Who enters waits anyway, and then what it sees is of now.
        if agent.connected:
            await agent.snapshot.first()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
