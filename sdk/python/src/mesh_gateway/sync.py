"""The mesh for programs without an event loop.

Owns one thread with an event loop, and waiting for it. Each call blocks until it is done; handlers run in that thread.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Callable, Coroutine, Dict, Iterator, List, Optional, Sequence, Type, TypeVar, Union

from .agent import ACCEPTED_WITHIN, Agent
from .errors import MeshError, NotStartedError
from .handlers import Handler
from .manager import MeshNetworkManager
from .message import Message, MessageType, Outcome, Priority
from .receipt import Receipt
from .simulated import SimulatedGateway
from .statistics import THRESHOLD
from .ways import NODE_ANSWERS_WITHIN

T = TypeVar("T")

_NOT_STARTED = "it is not started: call start(), or use `with`"


class SyncReceipt:
    """A :class:`mesh_gateway.Receipt` whose waiting blocks."""

    def __init__(self, loop: SyncLoop, receipt: Receipt) -> None:
        self._loop = loop
        self.receipt = receipt

    @property
    def message(self) -> Message:
        """The message."""
        return self.receipt.message

    @property
    def ref(self) -> int:
        """This client's number for it."""
        return self.receipt.ref

    @property
    def id(self) -> str:
        """The gateway's name for the message."""
        return self.receipt.id

    @property
    def durable(self) -> bool:
        """Whether *accepted* meant written and synced."""
        return self.receipt.durable

    @property
    def where(self) -> Optional[str]:
        """The node that says what became of it."""
        return self.receipt.where

    @property
    def why(self) -> Optional[str]:
        """Why, in words for people."""
        return self.receipt.why

    @property
    def hops(self) -> Optional[int]:
        """The links it crossed."""
        return self.receipt.hops

    @property
    def detail(self) -> Optional[Dict[str, Any]]:
        """What it waited for and where, if it was not delivered; how many have it, if it was for many."""
        return self.receipt.detail

    @property
    def reached(self) -> Optional[int]:
        """How many other nodes at least have it, of a message to a group or everyone."""
        return self.receipt.reached

    @property
    def known(self) -> Optional[int]:
        """How many other nodes the gateway knows, of a message to everyone."""
        return self.receipt.known

    @property
    def reached_text(self) -> str:
        """The same in words; empty if nothing was counted."""
        return self.receipt.reached_text

    @property
    def latency_ms(self) -> Optional[float]:
        """From when it was handed over here to when its receipt came, in milliseconds."""
        return self.receipt.latency_ms

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway has it."""
        return self.receipt.is_accepted

    @property
    def is_processed(self) -> bool:
        """Whether the receiving agent has acknowledged it."""
        return self.receipt.is_processed

    @property
    def done(self) -> bool:
        """Whether it is known what became of it."""
        return self.receipt.done

    @property
    def state(self) -> str:
        """In one word."""
        return self.receipt.state

    @property
    def error(self) -> Optional[MeshError]:
        """Why it was refused or lost, if it was."""
        return self.receipt.error

    def accepted(self, timeout: Optional[float] = None) -> SyncReceipt:
        """Waits until the gateway has it."""
        self._loop.run(self.receipt.accepted(timeout))
        return self

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

    def __init__(self, agent_id: Optional[str], port: Optional[int] = None, **options: Any) -> None:
        self.mesh = MeshNetworkManager(agent_id, port, **options)
        self._runner: Optional[SyncLoop] = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            work.close()
            raise NotStartedError(_NOT_STARTED)
        return self._runner.run(work)

    def _call(self, what: Callable[[], T]) -> T:
        """Does a thing that does not wait in the mesh's thread, where alone it may be done."""

        async def there() -> T:
            return what()

        return self._run(there())

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

    # ---- what it is ----

    @property
    def agent_id(self) -> str:
        """The name."""
        return self.mesh.agent_id

    @property
    def port(self) -> Optional[int]:
        """The port that was given."""
        return self.mesh.port

    @property
    def simulated(self) -> Optional[SimulatedGateway]:
        """The gateway of its own, with ``simulate=True``."""
        return self.mesh.simulated

    @property
    def agent(self) -> Agent:
        """The session with the gateway; its coroutines belong to the mesh's thread."""
        return self.mesh.agent

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self.mesh.running

    @property
    def connected(self) -> bool:
        """Whether the gateway is there now."""
        return self.mesh.connected

    @property
    def node(self) -> str:
        """The address of the gateway's node."""
        return self.mesh.node

    @property
    def gateway(self) -> str:
        """Where the gateway is, as ``gateway=`` takes it."""
        return self.mesh.gateway

    # ---- sending ----

    def _receipt(self, work: Coroutine[Any, Any, Receipt]) -> SyncReceipt:
        receipt = self._run(work)
        assert self._runner is not None
        return SyncReceipt(self._runner, receipt)

    def send_message(self, message: Message, timeout: float = ACCEPTED_WITHIN) -> SyncReceipt:
        """Sends a message; returns when the gateway has accepted it."""
        return self._receipt(self.mesh.send_message(message, timeout))

    def submit(self, message: Message, timeout: float = ACCEPTED_WITHIN) -> SyncReceipt:
        """Hands a message over without waiting for *accepted*, only for room: the fastest way to send many."""
        return self._receipt(self.mesh.submit(message, timeout))

    def broadcast(
        self,
        content: Any,
        type: MessageType = MessageType.NOTIFICATION,
        priority: Priority = Priority.MEDIUM,
        group: Optional[str] = None,
    ) -> SyncReceipt:
        """Sends to every agent of the network, or of a group, except this one."""
        return self._receipt(self.mesh.broadcast(content, type, priority, group))

    def query(
        self,
        receiver: str,
        content: Any = None,
        *,
        timeout: float = 30.0,
        priority: Priority = Priority.MEDIUM,
        durable: bool = False,
    ) -> Any:
        """Asks an agent, and returns the content of its answer."""
        return self._run(self.mesh.query(receiver, content, timeout=timeout, priority=priority, durable=durable))

    def send_and_wait(self, message: Message, timeout: float = 30.0) -> Message:
        """Sends a message, and returns the message that answers it."""
        return self._run(self.mesh.send_and_wait(message, timeout))

    def reply(
        self, to: Message, content: Any = None, *, priority: Optional[Priority] = None, durable: Optional[bool] = None
    ) -> SyncReceipt:
        """Answers a message that was received."""
        return self._receipt(self.mesh.reply(to, content, priority=priority, durable=durable))

    # ---- receiving ----

    def receive_message(self, timeout: Optional[float] = None, *, auto_ack: bool = True) -> Message:
        """The next message; asking for it says that those before it are handled, unless ``auto_ack`` was ``False``."""
        return self._run(self.mesh.receive_message(timeout, auto_ack=auto_ack))

    def acknowledge(self, message: Message) -> None:
        """Says that a message has been handled: it does not come again."""
        self._call(lambda: self.mesh.acknowledge(message))

    def __iter__(self) -> Iterator[Message]:
        return self.messages()

    def messages(self) -> Iterator[Message]:
        """All messages that no handler takes, each acknowledged when the next one is asked for, until :meth:`stop`."""
        if self._runner is None:
            raise NotStartedError(_NOT_STARTED)
        while self._runner is not None:
            try:
                message = self.receive_message(auto_ack=False)
            except NotStartedError:
                if not self.mesh.running:
                    # Another thread has stopped it.
                    return
                raise
            yield message
            if self._runner is not None:
                self.acknowledge(message)

    def subscribe(self, type: Union[MessageType, str], handler: Handler, *, concurrency: int = 1) -> None:
        """Gives messages of a type to a handler, which runs in the mesh's thread and must not block."""
        self._call(lambda: self.mesh.subscribe(type, handler, concurrency=concurrency))

    def unsubscribe(self, type: Union[MessageType, str]) -> None:
        """Takes the handler of a type away."""
        self._call(lambda: self.mesh.unsubscribe(type))

    def join_group(self, *groups: str, types: Optional[Sequence[MessageType]] = None) -> List[str]:
        """Also hears what is sent to ``group:NAME``."""
        return self._run(self.mesh.join_group(*groups, types=types))

    def leave_group(self, *groups: str) -> List[str]:
        """No longer hears it."""
        return self._run(self.mesh.leave_group(*groups))

    # ---- the network ----

    def add_peer(self, peer_id: str, address: str, port: int, *, fingerprint: Optional[str] = None) -> None:
        """The gateway peers with another gateway over IP."""
        self._run(self.mesh.add_peer(peer_id, address, port, fingerprint=fingerprint))

    def wait_for_peer(self, peer_id: str, timeout: float = 30.0) -> str:
        """Waits until a peer is up; the address of its node."""
        return self._run(self.mesh.wait_for_peer(peer_id, timeout))

    def remove_peer(self, peer_id: str) -> None:
        """The gateway no longer peers with it."""
        self._run(self.mesh.remove_peer(peer_id))

    def get_peers(self) -> Dict[str, Any]:
        """Near nodes, gateways over IP, and the gateway's own fingerprint."""
        return self._run(self.mesh.get_peers())

    def get_agents(self) -> List[Dict[str, Any]]:
        """Who can be written to."""
        return self._run(self.mesh.get_agents())

    def why(self, message: Union[Receipt, str]) -> Dict[str, Any]:
        """What became of a message, step by step."""
        return self._run(self.mesh.why(message.receipt if isinstance(message, SyncReceipt) else message))

    def ping_node(self, node: str, timeout: float = NODE_ANSWERS_WITHIN) -> Dict[str, Any]:
        """Whether a node answers."""
        return self._run(self.mesh.ping_node(node, timeout))

    def trace_node(self, node: str, timeout: float = NODE_ANSWERS_WITHIN) -> Dict[str, Any]:
        """Over which nodes a node is reached."""
        return self._run(self.mesh.trace_node(node, timeout))

    def get_network_statistics(self) -> Dict[str, Any]:
        """How the network is, as the gateway said within the last second."""
        return self._call(self.mesh.get_network_statistics)

    def fetch_network_statistics(self) -> Dict[str, Any]:
        """The same, asked for now."""
        return self._run(self.mesh.fetch_network_statistics())

    def get_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The addresses of nodes where enough of what was sent arrives, as they were within the last second."""
        return self._call(lambda: self.mesh.get_healthy_peers(threshold))

    def fetch_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The same, asked for now."""
        return self._run(self.mesh.fetch_healthy_peers(threshold))
