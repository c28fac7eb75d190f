"""A bounded number of sessions with a gateway, opened when needed and used again.

Owns who has which. Each session is an agent of its own, ``PREFIX-0`` and on, and connects again by itself.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator, Dict, List, Optional, Set, Union

from .agent import Agent
from .endpoint import Endpoint, find_endpoint
from .errors import NotStartedError
from .waiting import Waiters


class ConnectionPool:
    """At most ``max_connections`` sessions.

    ``async with pool.connection() as agent:`` borrows one; who comes when all are out waits. With ``name`` the agents
    are called ``NAME-0``, ``NAME-1``, ...; without, the name is made up.
    """

    def __init__(
        self,
        max_connections: int = 100,
        *,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        name: Optional[str] = None,
        connect_timeout: float = 10.0,
    ) -> None:
        if max_connections < 1:
            raise ValueError("a pool has at least one connection")
        self.max_connections = max_connections
        self._name = name or f"py-{secrets.token_hex(4)}"
        self._gateway, self._token, self._token_file = find_endpoint(gateway, fingerprint=fingerprint), token, token_file
        self._connect_timeout = connect_timeout
        self._free: List[Agent] = []
        self._lent: Set[Agent] = set()
        self._numbers = list(range(max_connections - 1, -1, -1))
        self._number_of: Dict[Agent, int] = {}
        self._waiters = Waiters()
        self._closed = False

    async def acquire(self) -> Agent:
        """Borrows a session; waits while all are out. Give it back with :meth:`release`."""
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
            await self._waiters.wait()

    async def _open(self) -> Agent:
        number = self._numbers.pop()
        try:
            agent = Agent(
                f"{self._name}-{number}", gateway=self._gateway, token=self._token, token_file=self._token_file
            )
            await agent.start(self._connect_timeout)
        except BaseException:
            self._numbers.append(number)
            self._waiters.wake()
            raise
        self._number_of[agent] = number
        self._lent.add(agent)
        return agent

    def release(self, agent: Agent) -> None:
        """Gives a session back."""
        if agent not in self._lent:
            raise ValueError(f"{agent.name} was not borrowed from this pool, or has been given back")
        self._lent.remove(agent)
        self._free.append(agent)
        self._waiters.wake()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Agent]:
        """Borrows a session and gives it back."""
        agent = await self.acquire()
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
        agents, self._free = [*self._free, *self._lent], []
        self._waiters.wake_all()
        for agent in agents:
            await agent.stop()

    async def __aenter__(self) -> ConnectionPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
