"""The mesh for programs without an event loop.

Owns one thread with an event loop, and waiting for it. Each call blocks until it is done; handlers run in that thread.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Coroutine, Dict, Iterator, List, Optional, Type, TypeVar, Union

from .errors import NotStartedError
from .handlers import Handler
from .manager import MeshNetworkManager
from .message import Message, MessageType, Outcome
from .receipt import Receipt

T = TypeVar("T")


class SyncReceipt:
    """A receipt whose waiting blocks."""

    def __init__(self, loop: SyncLoop, receipt: Receipt) -> None:
        self._loop = loop
        self.receipt = receipt

    @property
    def id(self) -> str:
        """The gateway's name for the message."""
        return self.receipt.id

    @property
    def done(self) -> bool:
        """Whether it is known what became of it."""
        return self.receipt.done

    def outcome(self, timeout: Optional[float] = None) -> Outcome:
        """Waits until it is known what became of it."""
        return self._loop.run(self.receipt.outcome(timeout))

    def processed(self, timeout: Optional[float] = None) -> Outcome:
        """Waits until the receiving agent has acknowledged it."""
        return self._loop.run(self.receipt.processed(timeout))

    def __repr__(self) -> str:
        return repr(self.receipt)


class SyncLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mesh_gateway", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine there and waits for it; Ctrl-C cancels it."""
        if not self._thread.is_alive():
            work.close()
            raise NotStartedError("it was stopped: make a new one")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("cannot block in a handler: make the handler `async` and use the asyncio interface there")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class SyncMesh:
    """:class:`mesh_gateway.MeshNetworkManager` with calls that block; takes the same arguments.

    ``with SyncMesh("agent_001") as mesh: mesh.send_message(...)``
    """

    def __init__(self, agent_id: str, port: Optional[int] = None, **options: Any) -> None:
        self.mesh = MeshNetworkManager(agent_id, port, **options)
        self._runner: Optional[SyncLoop] = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            work.close()
            raise NotStartedError("it is not started: call start(), or use `with`")
        return self._runner.run(work)

    def start(self) -> None:
        """Connects."""
        if self._runner is None:
            self._runner = SyncLoop()
            try:
                self._run(self.mesh.start())
            except BaseException:
                self._end()
                raise

    def stop(self) -> None:
        """Ends the session and the thread."""
        if self._runner is not None:
            try:
                self._run(self.mesh.stop())
            finally:
                self._end()

    def _end(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def __enter__(self) -> SyncMesh:
        self.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._runner is None:
            return
        try:
            self._run(self.mesh.__aexit__(kind, error, trace))
        finally:
            self._end()

    def send_message(self, message: Message) -> SyncReceipt:
        """Sends a message; returns when the gateway has accepted it."""
        receipt = self._run(self.mesh.send_message(message))
        assert self._runner is not None
        return SyncReceipt(self._runner, receipt)

    def reply(self, to: Message, content: Any = None) -> SyncReceipt:
        """Answers a message that was received."""
        receipt = self._run(self.mesh.reply(to, content))
        assert self._runner is not None
        return SyncReceipt(self._runner, receipt)

    def query(self, receiver: str, content: Any = None, *, timeout: float = 30.0) -> Any:
        """Asks an agent, and returns the content of its answer."""
        return self._run(self.mesh.query(receiver, content, timeout=timeout))

    def send_and_wait(self, message: Message, timeout: float = 30.0) -> Message:
        """Sends a message, and returns the message that answers it."""
        return self._run(self.mesh.send_and_wait(message, timeout))

    def receive_message(self, timeout: Optional[float] = None) -> Message:
        """The next message; asking for it says that the one before is handled."""
        return self._run(self.mesh.receive_message(timeout))

    def __iter__(self) -> Iterator[Message]:
        while True:
            yield self.receive_message()

    def subscribe(self, type: Union[MessageType, str], handler: Handler) -> None:
        """Gives messages of a type to a handler, which runs in the mesh's thread and must not block."""

        async def there() -> None:
            self.mesh.subscribe(type, handler)

        self._run(there())

    def join_group(self, *groups: str) -> List[str]:
        """Also hears what is sent to ``group:NAME``."""
        return self._run(self.mesh.join_group(*groups))

    def add_peer(self, peer_id: str, address: str, port: int, *, fingerprint: Optional[str] = None) -> None:
        """The gateway peers with another gateway over IP."""
        self._run(self.mesh.add_peer(peer_id, address, port, fingerprint=fingerprint))

    def wait_for_peer(self, peer_id: str, timeout: float = 30.0) -> str:
        """Waits until a peer is up; the address of its node."""
        return self._run(self.mesh.wait_for_peer(peer_id, timeout))

    def remove_peer(self, peer_id: str) -> None:
        """The gateway no longer peers with it."""
        self._run(self.mesh.remove_peer(peer_id))

    def get_network_statistics(self) -> Dict[str, Any]:
        """How the network is."""
        return self._run(self.mesh.get_network_statistics())
