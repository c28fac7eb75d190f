"""A bounded number of sessions with a gateway, opened when needed and used again.

Owns who has which. Each session is an agent of its own, ``PREFIX-0`` and on, and connects again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator, Dict, List, Optional, Set, Union

from .agent import HEARTBEAT, PARTING_WITHIN, Agent
from .endpoint import Endpoint
from .errors import MeshError, NoAnswerError, NotStartedError
from .manager import Whereabouts
from .waiting import Waiters

log = logging.getLogger("mesh_gateway.agent")


class ConnectionPool:
    """At most ``max_connections`` sessions.

    ``async with pool.connection() as agent:`` borrows one; who comes when all are out waits. With ``name`` the agents
    are called ``NAME-0``, ``NAME-1``, ...; without, the name is made up. Where no gateway is given, they go to
    that of the manager that this program started last, while one runs.
    """

    def __init__(
        self,
        max_connections: int = 100,
        *,
        port: Optional[int] = None,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        connect_timeout: float = 10.0,
        heartbeat: float = HEARTBEAT,
        name: Optional[str] = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError("a pool has at least one connection")
        self.max_connections = max_connections
        self._made_up = name is None
        self._name = name or f"py-{secrets.token_hex(4)}"
        self._where = Whereabouts(port, gateway, token, token_file, fingerprint)
        self._connect_timeout, self._heartbeat = connect_timeout, heartbeat
        self._free: List[Agent] = []
        self._lent: Set[Agent] = set()
        self._numbers = list(range(max_connections - 1, -1, -1))
        self._number_of: Dict[Agent, int] = {}
        self._waiters = Waiters()
        self._closed = False

    async def acquire(self, timeout: Optional[float] = None) -> Agent:
        """Borrows a session; waits while all are out, at most for ``timeout`` seconds. Give it back with :meth:`release`."""
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            if self._closed:
                raise NotStartedError("the pool is closed: make a new one")
            while self._free:
                agent = self._free.pop()
                if agent.failure is None:
                    self._lent.add(agent)
                    return agent
                self._numbers.append(self._number_of.pop(agent))
            if self._numbers:
                return await self._open()
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                raise NoAnswerError(f"all {self.max_connections} sessions of the pool are out for {timeout} s: give some back, or have more")
            await self._waiters.wait(left)

    async def _open(self) -> Agent:
        number = self._numbers.pop()
        running = self._where.running()
        access = self._where.access if running is None else running.agent.access
        try:
            agent = Agent(f"{self._name}-{number}", gateway=access, heartbeat=self._heartbeat)
            await agent.start(self._connect_timeout)
        except BaseException:
            self._numbers.append(number)
            self._waiters.wake()
            raise
        if self._closed:
            await self._part(agent)
            raise NotStartedError("the pool was closed meanwhile: make a new one")
        self._number_of[agent] = number
        self._lent.add(agent)
        return agent

    def release(self, agent: Agent) -> None:
        """Gives a session back. A pool that is closed has ended it already."""
        if self._closed:
            return
        if agent not in self._lent:
            raise ValueError(f"{agent.name} was not borrowed from this pool, or has been given back")
        self._lent.remove(agent)
        self._free.append(agent)
        self._waiters.wake()

    @asynccontextmanager
    async def connection(self, timeout: Optional[float] = None) -> AsyncIterator[Agent]:
        """Borrows a session and gives it back."""
        agent = await self.acquire(timeout)
        try:
            yield agent
        finally:
            self.release(agent)

    def stats(self) -> Dict[str, int]:
        """How many are open, lent and free."""
        return {
            "max_connections": self.max_connections,
            "open": len(self._number_of),
            "lent": len(self._lent),
            "free": len(self._free),
            "connected": sum(agent.connected for agent in self._number_of),
        }

    async def close(self) -> None:
        """Ends all sessions, also those that are lent."""
        self._closed = True
        agents = list(self._number_of)
        for all_of_them in (self._free, self._lent, self._number_of):
            all_of_them.clear()
        self._waiters.wake_all()
        # At the same time: a gateway that says nothing holds up all of them as long as one, and no failure keeps another open.
        for ended in await asyncio.gather(*map(self._part, agents), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _part(self, agent: Agent) -> None:
        try:
            if self._made_up and agent.connected:
                await self._forget(agent)
        finally:
            await agent.stop()

    async def _forget(self, agent: Agent) -> None:
        """Nobody will come under a name that was made up: the gateway need not keep it."""
        try:
            await agent.ask("agent_forget", PARTING_WITHIN, name=agent.name)
        except MeshError as why:
            log.debug("cannot have %s forgotten: %s", agent.name, why)

    async def __aenter__(self) -> ConnectionPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
