"""A program's part in the mesh: send, receive, ask, peers.

Owns the interface of :class:`MeshNetworkManager`. The session with the gateway is :mod:`mesh_gateway.agent`'s, the
figures are :mod:`mesh_gateway.statistics`'.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, AsyncIterator, Dict, List, Optional, Sequence, Type, TypeVar, Union
from weakref import WeakKeyDictionary

from . import ways
from .agent import ACCEPTED_WITHIN, HEARTBEAT, Agent
from .endpoint import NOWHERE, Access, Endpoint, environment_names_one, find_access
from .errors import NoAnswerError, NotStartedError
from .handlers import Handler, Subscription
from .message import Message, MessageType, Priority, message_type
from .receipt import Receipt
from .simulated import SimulatedGateway
from .statistics import THRESHOLD, healthy_peers, network_statistics
from .watch import PeerWatch, until_up

log = logging.getLogger("mesh_gateway.manager")

Self = TypeVar("Self", bound="MeshNetworkManager")


class MeshNetworkManager:
    """An agent of the mesh. Without a name (``None``) it is one whose session leaves nothing behind, to ask and to send with.

    It attaches to the gateway that runs at ``gateway``, else at ``port`` of this machine, else ``MESH_GATEWAY``, else at
    ``127.0.0.1:7700``. A gateway has one port for its agents and for other gateways, which reach it with
    ``add_peer(name, address, port)``.

    With the ``fingerprint`` of the gateway's certificate, or ``MESH_GATEWAY_FINGERPRINT``, it speaks TLS, to that gateway only.

    While it runs it asks the gateway every second how the network is, for the calls that do not wait; not so with ``live=False``.

    With ``simulate=True`` it starts a gateway on a simulated air instead, with ``data_dir`` or a folder of its own, and
    stops it at the end; that one is nobody else's, and what is said of another, by arguments or the environment, does nothing.
    """

    def __init__(
        self,
        agent_id: Optional[str],
        port: Optional[int] = None,
        *,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        connect_timeout: float = 10.0,
        heartbeat: float = HEARTBEAT,
        simulate: bool = False,
        data_dir: Union[str, Path, None] = None,
        sim_nodes: int = 10,
        seed: int = 1,
        credits: int = 256,
        live: bool = True,
    ) -> None:
        self._name = agent_id
        self.port = port
        self.simulated = SimulatedGateway(data_dir, nodes=sim_nodes, seed=seed) if simulate else None
        self._connect_timeout = connect_timeout
        self._live = live
        # A gateway of its own asks for no token, and is nowhere before it is started; what the environment says is of another.
        access = Access(NOWHERE) if simulate else find_access(port, gateway, token, token_file, fingerprint)
        self._how: Dict[str, Any] = dict(gateway=access, credits=credits, heartbeat=heartbeat)
        # A wrong name or address is an error here and not at the start.
        self._agent = self._new_agent()
        self._started = False
        self._watch: Optional[PeerWatch] = None
        self._subscriptions: Dict[MessageType, Subscription] = {}
        self._wishes: Dict[MessageType, Any] = {}
        self._in_hand: List[Message] = []

    def _new_agent(self) -> Agent:
        return Agent(self._name, **self._how)

    # ---- life ----

    @property
    def agent_id(self) -> str:
        """The name; before the start empty, if the gateway is to make one up."""
        return self._agent.name

    @property
    def agent(self) -> Agent:
        """The session with the gateway."""
        return self._agent

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._started

    @property
    def connected(self) -> bool:
        """Whether the gateway is there now."""
        return self._agent.connected

    @property
    def node(self) -> str:
        """The address of the gateway's node, as in ``0x0001``."""
        return self._agent.node

    @property
    def gateway(self) -> str:
        """Where the gateway is, as ``gateway=`` takes it."""
        return str(self._agent.endpoint)

    async def start(self) -> None:
        """Connects; with ``simulate=True``, starts the gateway first."""
        if self._started:
            return
        if self.simulated is not None:
            await self.simulated.start()
            self._how["gateway"] = Access(Endpoint("", 0, self.simulated.endpoint[len("unix:") :]))
            self._agent = self._new_agent()
        try:
            if self._agent.failure is not None and self._agent.sessions:
                self._agent = self._new_agent()
            await self._agent.start(self._connect_timeout)
        except BaseException:
            self._agent = self._new_agent()
            if self.simulated is not None:
                await self.simulated.stop()
            raise
        self._started = True
        _RUNNING.setdefault(asyncio.get_running_loop(), []).append(self)
        self._watch = PeerWatch(self._agent)
        for kind, (handler, concurrency) in self._wishes.items():
            self._subscriptions[kind] = Subscription(self._agent.inbox, kind, handler, concurrency)
        if self._live:
            try:
                await self._agent.snapshot.first()
            except BaseException:
                await self._stop(handled=False)
                raise
            self._agent.snapshot.keep()

    async def stop(self) -> None:
        """Ends the session after all that was asked before. What ``receive_message`` gave out counts as handled."""
        await self._stop(handled=True)

    async def _stop(self, handled: bool) -> None:
        if not self._started:
            return
        self._started = False
        _RUNNING.get(asyncio.get_running_loop(), [self]).remove(self)
        if handled:
            self._hand_back()
        self._in_hand.clear()
        subscriptions = list(self._subscriptions.values())
        self._subscriptions.clear()
        for subscription in subscriptions:
            subscription.cancel()
        for subscription in subscriptions:
            await subscription.ended()
        if self._watch is not None:
            await self._watch.stop()
        await self._agent.stop()
        if self.simulated is not None:
            await self.simulated.stop()

    async def __aenter__(self: Self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        # Who failed has perhaps not handled what it was given: that comes again.
        await self._stop(handled=error is None)

    # ---- sending ----

    async def send_message(self, message: Message, timeout: float = ACCEPTED_WITHIN) -> Receipt:
        """Sends a message. Returns when the gateway has accepted it; ``await receipt.outcome()`` has the rest.

        Raises :class:`NoAnswerError` after ``timeout`` seconds. The message is kept all the same and goes out when the gateway
        is there; the error's ``receipt`` has its outcome.
        """
        return await self._agent.send(message, timeout)

    async def submit(self, message: Message, timeout: float = ACCEPTED_WITHIN) -> Receipt:
        """Hands a message over without waiting for *accepted*, only for room: the fastest way to send many."""
        return await self._agent.submit(message, timeout=timeout)

    async def broadcast(
        self,
        content: Any,
        type: MessageType = MessageType.NOTIFICATION,
        priority: Priority = Priority.MEDIUM,
        group: Optional[str] = None,
    ) -> Receipt:
        """Sends to every agent of the network, or of a group, except this one."""
        receiver = "everyone" if group is None else f"group:{group}"
        return await self.send_message(Message(type, receiver=receiver, content=content, priority=priority))

    async def query(
        self,
        receiver: str,
        content: Any = None,
        *,
        timeout: float = 30.0,
        priority: Priority = Priority.MEDIUM,
        durable: bool = False,
    ) -> Any:
        """Asks an agent, and returns the content of its answer.

        The question is not written to disk unless ``durable``: its answer is its receipt.
        """
        message = Message(MessageType.QUERY, receiver=receiver, content=content, priority=priority, durable=durable)
        return (await self.send_and_wait(message, timeout)).content

    async def send_and_wait(self, message: Message, timeout: float = 30.0) -> Message:
        """Sends a message, and returns the message that answers it."""
        return await self._agent.send_and_wait(message, timeout)

    async def reply(
        self, to: Message, content: Any = None, *, priority: Optional[Priority] = None, durable: Optional[bool] = None
    ) -> Receipt:
        """Answers a message that was received. The answer to a QUERY is not written to disk unless ``durable``: who has none asks
        again. Other messages are answered durably unless that is changed."""
        if not to.id:
            raise ValueError("cannot reply: give the message that was received")
        answer = Message(
            MessageType.RESPONSE, receiver=to.source, content=content, priority=priority or to.priority, reply_to=to.id,
            durable=to.type is not MessageType.QUERY if durable is None else durable,
        )  # fmt: skip
        return await self._agent.send(answer)

    # ---- receiving ----

    async def receive_message(self, timeout: Optional[float] = None, *, auto_ack: bool = True) -> Message:
        """The next message that no handler takes. Raises :class:`NoAnswerError` if none comes within ``timeout``.

        Asking for the next one says that those before it are handled. With ``auto_ack=False`` the message is handled
        when :meth:`acknowledge` says so: for several that are worked on at once.
        """
        if not self._started:
            self._agent.check()
        self._hand_back()
        message = await self._agent.inbox.main.take(timeout)
        if message is None:
            raise NoAnswerError(f"no message came for {self.agent_id} within {timeout} s: wait longer, or go on without")
        if auto_ack:
            self._in_hand.append(message)
        return message

    def acknowledge(self, message: Message) -> None:
        """Says that a message has been handled: it does not come again."""
        self._agent.inbox.handled(message)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self.messages()

    async def messages(self) -> AsyncIterator[Message]:
        """All messages that no handler takes, each acknowledged when the next one is asked for, until :meth:`stop`.

        Several tasks may each have their own. Who leaves the loop early says ``acknowledge`` of the last one, if it is
        handled.
        """
        if not self._started:
            self._agent.check()
        while True:
            try:
                message = await self._agent.inbox.main.take()
            except NotStartedError:
                if not self._started:
                    return
                raise
            assert message is not None
            yield message
            self.acknowledge(message)

    def _hand_back(self) -> None:
        for message in self._in_hand:
            self.acknowledge(message)
        self._in_hand.clear()

    def subscribe(
        self, type: Union[MessageType, str], handler: Handler, *, concurrency: int = 1
    ) -> None:
        """Gives messages of a type to a handler, plain or ``async``, each acknowledged after it.

        ``concurrency`` is how many are handled at a time; with 1 they are handled in the order in which they came.
        """
        kind = message_type(type)
        if kind in self._wishes:
            raise ValueError(f"{kind} has a handler already: unsubscribe it first")
        if self._started:
            self._subscriptions[kind] = Subscription(self._agent.inbox, kind, handler, concurrency)
        self._wishes[kind] = (handler, concurrency)

    def unsubscribe(self, type: Union[MessageType, str]) -> None:
        """Takes the handler of a type away."""
        kind = message_type(type)
        self._wishes.pop(kind, None)
        subscription = self._subscriptions.pop(kind, None)
        if subscription is not None:
            subscription.cancel()

    async def join_group(self, *groups: str, types: Optional[Sequence[MessageType]] = None) -> List[str]:
        """Also hears what is sent to ``group:NAME``. The gateway remembers it for the name."""
        return await self._agent.subscribe_groups(groups, types)

    async def leave_group(self, *groups: str) -> List[str]:
        """No longer hears it."""
        return await self._agent.unsubscribe_groups(groups)

    # ---- the network ----

    async def add_peer(self, peer_id: str, address: str, port: int, *, fingerprint: Optional[str] = None) -> None:
        """The gateway peers with the gateway at ``address:port`` over IP, and keeps trying while that one is away.

        ``fingerprint`` is the SHA-256 of that one's certificate; without it the first one that it shows is kept.
        """
        bare = address.strip("[]")
        host = f"[{bare}]" if ":" in bare else bare
        pin: Dict[str, Any] = {} if fingerprint is None else {"fingerprint": fingerprint}
        await self._agent.ask("link_add", name=peer_id, address=f"{host}:{port}", **pin)
        log.info("peer %s at %s:%s added", peer_id, address, port, extra={"peer": peer_id})
        if self._watch is not None:
            self._watch.add(peer_id)

    async def wait_for_peer(self, peer_id: str, timeout: float = 30.0) -> str:
        """Waits until a peer is up; the address of its node. Messages for agents there may be sent before, and wait.

        Raises :class:`NoAnswerError` after ``timeout`` seconds; the gateway keeps trying all the same.
        """
        return await until_up(self._agent, peer_id, timeout)

    async def remove_peer(self, peer_id: str) -> None:
        """The gateway no longer peers with it."""
        await self._agent.ask("link_remove", name=peer_id)
        log.info("peer %s removed", peer_id, extra={"peer": peer_id})
        if self._watch is not None:
            self._watch.remove(peer_id)

    async def get_peers(self) -> Dict[str, Any]:
        """Near nodes as ``peers``, gateways over IP as ``links``, and the ``fingerprint`` of the gateway's own certificate."""
        event = await self._agent.ask("peers")
        return {key: event[key] for key in ("peers", "links", "fingerprint") if key in event}

    async def get_agents(self) -> List[Dict[str, Any]]:
        """Who can be written to: each ``name``, ``node``, ``local``; here ``connected``, elsewhere ``last_heard_ms``."""
        return list((await self._agent.ask("agents"))["agents"])

    async def why(self, message: Union[Receipt, str]) -> Dict[str, Any]:
        """What became of a message, by its receipt or its id: ``steps``, each ``at_us``, ``what``, ``node``, ``count``."""
        return await ways.why(self._agent, message)

    async def ping_node(self, node: str, timeout: float = ways.NODE_ANSWERS_WITHIN) -> Dict[str, Any]:
        """Whether a node, as ``0x0003``, answers within ``timeout`` seconds: then with ``round_trip_us`` and ``hops``."""
        return await ways.ping_node(self._agent, node, timeout)

    async def trace_node(self, node: str, timeout: float = ways.NODE_ANSWERS_WITHIN) -> Dict[str, Any]:
        """Over which nodes a node is reached: ``reached``, and ``hops``, each ``hop``, ``node``, ``next_hop``, ``link``, ``after_us``,
        and ``keeps`` where it keeps messages for others while their receivers are away."""
        return await ways.trace_node(self._agent, node, timeout)

    def get_network_statistics(self) -> Dict[str, Any]:
        """How the network is, as the gateway said within the last second: ``as_of_ms`` says when, ``None`` before the first
        answer. See :mod:`mesh_gateway.statistics`."""
        return network_statistics(self._agent)

    async def fetch_network_statistics(self) -> Dict[str, Any]:
        """The same, asked for now."""
        await self._agent.snapshot.refresh()
        return network_statistics(self._agent)

    def get_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The addresses of nodes where at least ``threshold`` (0 to 1) of what was sent arrives, as they were within the last
        second. A near node that nothing was sent to is judged by what its link lets through."""
        return healthy_peers(self._agent, threshold)

    async def fetch_healthy_peers(self, threshold: float = THRESHOLD) -> List[str]:
        """The same, asked for now."""
        await self._agent.snapshot.refresh("health")
        return healthy_peers(self._agent, threshold)


# The managers that run in each event loop, in the order in which they were started.
_RUNNING: "WeakKeyDictionary[asyncio.AbstractEventLoop, List[MeshNetworkManager]]" = WeakKeyDictionary()


class Whereabouts:
    """Where the gateway is of what a program has beside its manager: where that was given, else where that manager's is."""

    def __init__(
        self,
        port: Optional[int],
        gateway: Union[str, Endpoint, None],
        token: Optional[str],
        token_file: Union[str, Path, None],
        fingerprint: Optional[str],
    ) -> None:
        #: Where it is without a manager.
        self.access = find_access(port, gateway, token, token_file, fingerprint)
        self._given = any(each is not None for each in (port, gateway, token, token_file, fingerprint))
        # Where a manager has to be to stand in for what was not given; the environment is asked once, and not later again.
        self._only = self.access if environment_names_one() else None

    def running(self) -> Optional[MeshNetworkManager]:
        """The manager that stands in: the one that was started last in this event loop, and runs. ``None`` if there is none, or
        something was given."""
        if self._given:
            return None
        try:
            started = _RUNNING.get(asyncio.get_running_loop(), [])
        except RuntimeError:
            return None
        fits = (mesh for mesh in reversed(started) if mesh.agent.failure is None and self._only in (None, mesh.agent.access))
        return next(fits, None)
