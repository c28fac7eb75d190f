"""An agent: one name, one session with a gateway, connected again by itself.

Owns the connection's life: hello, welcome, loss, backoff and the end. It takes events to :mod:`mesh_gateway.sends`,
:mod:`mesh_gateway.inbox` and :mod:`mesh_gateway.questions`, which own what becomes of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Union

from . import wire
from .away import why_away
from .content import quote
from .endpoint import Access, Endpoint, find_access
from .errors import (
    BusyError, GatewayAwayError, KnownGatewaysError, MeshError, NoAnswerError, NotStartedError, WrongCertificateError, refusal,
)  # fmt: skip
from .inbox import Inbox
from .message import Message, MessageType, check_name, received
from .printable import printable
from .questions import ANSWER_WITHIN, Field, Questions
from .receipt import Receipt
from .routes import RouteChanges
from .sends import Sends
from .snapshot import Snapshot
from .wire import Event, Wire

log = logging.getLogger("mesh_gateway.agent")

#: The first and the longest pause between two attempts to connect, in seconds: those of the gateway's own commands.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: How long a gateway may take to say welcome, in seconds, and to close after ``bye``. Guesses, those of its commands.
WELCOME_WITHIN, PARTING_WITHIN = 10.0, 5.0
#: How long nothing may come before the gateway is asked whether it is there, and how long it may take to answer, in seconds:
#: those of the client for Rust.
HEARTBEAT = 30.0
#: How long a message may wait for room and for *accepted*, in seconds. A guess: a gateway is back from a restart by then.
ACCEPTED_WITHIN = 60.0
#: The body a gateway takes until it has said so itself, in bytes.
USUAL_MAX_BODY = 65_536

# Refusals that pass; after any other it would be no use, or harm, to connect again.
_PASSING = frozenset({"shutting_down", "overloaded", "too_late"})


class Agent:
    """A session with a gateway under a name; without one, under a name that the gateway makes up, and that ends with the session."""

    def __init__(
        self,
        name: Optional[str],
        *,
        gateway: Union[str, Endpoint, Access, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        credits: int = 256,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._unnamed = name is None
        self.name = "" if name is None else check_name(name)
        #: Where the gateway is, and the token for it: both at once as ``gateway``, or looked for.
        self.access = gateway if isinstance(gateway, Access) else find_access(None, gateway, token, token_file, fingerprint)
        self.endpoint = self.access.endpoint
        self.sends = Sends(self._extra)
        self.inbox = Inbox(credits, self._forgotten, self._extra)
        self._questions = Questions(self.sends.number)
        #: What the gateway said in its last ``welcome``; empty before the first.
        self.welcome: Event = {}
        #: How often it has been connected.
        self.sessions = 0
        #: How many messages of each type came.
        self.received_by_type: Counter[str] = Counter()
        #: What the gateway said last of the network.
        self.snapshot = Snapshot(self)
        #: Changes of routes that the gateway has not confirmed.
        self.routes = RouteChanges(self, self.snapshot)
        self._heartbeat = heartbeat
        self._wire: Optional[Wire] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._up: Optional[asyncio.Event] = None
        self._closing = False
        self._failure: Optional[MeshError] = NotStartedError(f"{name or 'the session'} is not started: call start() first")
        self._refusal: Optional[MeshError] = None
        self._trouble = ""

    # ---- life ----

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return self._up is not None and self._up.is_set()

    @property
    def node(self) -> str:
        """The address of the gateway's node, as in ``0x0001``; empty before the first welcome."""
        return str(self.welcome.get("node", ""))

    @property
    def failure(self) -> Optional[MeshError]:
        """Why there will be no session any more, if so."""
        return self._failure

    def begin(self) -> None:
        """Begins to connect, and goes on until there is a session or a refusal; needs a running event loop."""
        if self._task is not None:
            return
        if self._closing:
            raise NotStartedError(f"{self.name} was stopped: make a new one")
        self._failure = None
        self._up = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"mesh_gateway {self.name}")

    async def start(self, timeout: float = 10.0) -> None:
        """Connects. Tries for ``timeout`` seconds while no gateway answers, then raises :class:`GatewayAwayError`."""
        if self._task is not None:
            return
        self.begin()
        try:
            await self.until_up(timeout)
        except asyncio.CancelledError:
            await self._end(NotStartedError(f"{self.name} was stopped while it started"))
            raise
        except MeshError as failure:
            await self._end(failure)
            raise

    async def until_up(self, timeout: float) -> None:
        """Waits for a session, after :meth:`begin`. Raises why there is none."""
        if self._task is None or self._up is None:
            self.check()
            return
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait({up, self._task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if not self._up.is_set():
            trouble = self._trouble or why_away(self.endpoint, asyncio.TimeoutError())
            raise self._failure or GatewayAwayError(f"no gateway answers at {self.endpoint}: {trouble}")

    async def stop(self) -> None:
        """Says goodbye after all that was asked before, and ends the session. Receipts still out fail."""
        if self._task is None:
            return
        try:
            await self.routes.part(PARTING_WITHIN)
            await self.snapshot.stop()
            self._closing = True
            self.inbox.flush()
            if self._wire is not None and self.connected:
                self._wire.write('{"op":"bye"}\n')
                await asyncio.wait({self._wire.lost}, timeout=PARTING_WITHIN)
        finally:
            # Also for who is cancelled while it waits: nobody else would end the session.
            await self._end(NotStartedError(f"{self.name} was stopped; what the gateway has accepted goes on"))

    async def _end(self, why: MeshError) -> None:
        self._closing = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if self._wire is not None:
            self._wire.close()
        self._close(why)

    def _close(self, why: MeshError) -> None:
        self._failure = why
        self.sends.close(why)
        self.inbox.close(why)
        self._questions.close(why)

    # ---- the connection ----

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing:
            try:
                lost = await self._session()
            except (OSError, asyncio.TimeoutError) as why:
                self._trouble = why_away(self.endpoint, why)
                level = logging.DEBUG if self.sessions == 0 else logging.WARNING
                log.log(level, "no gateway at %s: %s", self.endpoint, self._trouble, extra=self._extra())
            except (WrongCertificateError, KnownGatewaysError) as why:
                log.error("session over: %s", why, extra=self._extra())
                self._close(why)
                return
            else:
                pause = FIRST_PAUSE
                level = logging.INFO if self._closing else logging.WARNING
                log.log(level, "connection to %s ended: %s", self.endpoint, lost, extra=self._extra())
            if self._closing:
                return
            error, self._refusal = self._refusal, None
            if error is not None:
                self._trouble = str(error)
                if error.code not in _PASSING:
                    log.error("session over: %s", error, extra=self._extra(code=error.code))
                    self._close(error)
                    return
            # A part of it by chance, so that agents of a gateway that restarts do not all come at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _session(self) -> str:
        """One connection from its first byte to its last; why it ended. Raises if there was no welcome."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WELCOME_WITHIN
        self._wire = current = await asyncio.wait_for(
            wire.connect(self.endpoint, self._on_events, self.sends.wake), WELCOME_WITHIN
        )
        assert self._up is not None
        try:
            current.write(self._hello())
            up = asyncio.ensure_future(self._up.wait())
            either: Set[asyncio.Future[Any]] = {up, current.lost}
            try:
                await asyncio.wait(either, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
            if not self._up.is_set():
                silent = f"it takes the connection and says no welcome within {WELCOME_WITHIN} s; is it a gateway?"
                raise OSError(current.lost.result() if current.lost.done() else silent)
            await self._listen(current)
            return current.lost.result()
        finally:
            self._up.clear()
            self.sends.lost()
            self.inbox.lost()
            self._questions.lost()
            current.close()

    async def _listen(self, current: Wire) -> None:
        """Waits until the connection ends. One that sends nothing, though it was asked, is ended here: the other end may be gone
        without closing it."""
        asked = False
        while not current.lost.done():
            reads = current.reads
            await asyncio.wait({current.lost}, timeout=self._heartbeat)
            if current.reads != reads:
                asked = False
            elif asked:
                current.abort(f"nothing came from it for {2 * self._heartbeat:g} s, though it was asked whether it is there")
            else:
                asked = True
                current.write(f'{{"op":"ping","ref":{self.sends.number()}}}\n')

    def _hello(self) -> str:
        secret = self.access.token
        token = f',"token":{quote(secret)}' if secret and not self.endpoint.path else ""
        name = "" if self._unnamed else f'"name":"{self.name}",'
        resume = None if self._unnamed else self.inbox.resume_cursor()
        behind = "" if resume is None else f',"resume":{resume}'
        return f'{{"op":"hello",{name}"credits":{self.inbox.limit}{token}{behind}}}\n'

    def _welcomed(self, event: Event) -> None:
        # Here and not in a task: what the gateway kept for us may follow in the same batch of events.
        assert self._wire is not None and self._up is not None
        write, gateway = self._wire.write, event["gateway"]
        # A session without a name leaves nothing behind: the next one has another name.
        renamed = self._unnamed and self.sessions > 0
        if renamed:
            self.inbox.forget()
        remembers = self.inbox.begin(write, event["node"], event["resumed_from"], event["credits"]) and not renamed
        self.welcome = event
        if self._unnamed:
            self.name = event["name"]
        self.sessions += 1
        self._up.set()
        self._questions.resume(write)
        self.sends.resume(write, self.sessions, remembers)
        again = "again " if self.sessions > 1 else ""
        log.info("connected %sto %s at %s", again, gateway, self.endpoint, extra=self._extra(node=event["node"]))
        if not remembers and not renamed:
            self._forgotten()

    def _forgotten(self) -> None:
        self.sends.forgotten()
        log.warning("the gateway has come back without what it had kept for %s", self.name, extra=self._extra())

    # ---- events ----

    def _on_events(self, events: List[Event]) -> None:
        inbox, sends = self.inbox, self.sends
        for event in events:
            kind = event["ev"]
            if kind == "accepted":
                sends.accepted(event)
            elif kind == "receipt":
                cursor = event.get("cursor")
                if cursor is None or inbox.is_new(cursor):
                    sends.receipt(event)
            elif kind == "message":
                self._take(received(event))
            else:
                self._other(kind, event)
        inbox.flush_if_due()

    def _take(self, message: Message) -> None:
        if not self.inbox.admit(message):
            return
        self.received_by_type[str(message.type)] += 1
        if message.reply_to is not None and self.sends.answer(message):
            self.inbox.handled(message)
        else:
            self.inbox.put(message)

    def _other(self, kind: str, event: Event) -> None:
        if kind == "welcome":
            self._welcomed(event)
        elif kind == "error":
            self._refused(event)
        elif kind == "goodbye" and self._wire is not None:
            self._wire.ends(f"it said goodbye ({printable(event['why'])})")
        else:
            self._questions.answered(event)

    def _refused(self, event: Event) -> None:
        error = refusal(event)
        ref = event.get("ref")
        if event.get("fatal"):
            self._refusal = error
        elif ref is None:
            log.warning("%s", error, extra=self._extra(code=error.code))
        elif self._questions.refused(ref, error):
            return
        elif self.sends.refused(ref, error):
            log.info("message refused: %s", error, extra=self._extra(code=error.code))

    def _extra(self, **more: Any) -> Dict[str, Any]:
        return {"agent": self.name, "gateway": str(self.endpoint), **more}

    # ---- messages ----

    async def submit(
        self, message: Message, answer: Optional[asyncio.Future[Message]] = None, timeout: float = ACCEPTED_WITHIN
    ) -> Receipt:
        """Hands a message over and returns at once, or as soon as there is room; the receipt has the rest.

        Raises :class:`GatewayAwayError` or :class:`BusyError` if there is no room within ``timeout``: it was not taken then.
        """
        sends = self.sends
        if message.sender and message.sender != self.name:
            raise ValueError(
                f"cannot send as {message.sender!r}: this is {self.name!r}; leave sender out, or use an agent of that name"
            )
        self.check()
        if not self._has_room():
            await self._room(message, timeout)
        receipt = sends.put(message, int(self.welcome.get("max_body", USUAL_MAX_BODY)))
        receipt.answer = answer
        return receipt

    def _has_room(self) -> bool:
        return self.sends.has_room() and not (self._wire is not None and self._wire.full)

    async def _room(self, message: Message, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not self._has_room():
            if not await self.sends.room(until - loop.time()) and loop.time() >= until:
                attempt = f"cannot take the message to {message.receiver}: {len(self.sends.table)} wait already, and there was no room"
                if not self.connected:
                    raise GatewayAwayError(f"{attempt} within {timeout:g} s, the gateway being away ({self._trouble})")
                raise BusyError(f"{attempt} within {timeout:g} s; wait for receipts, then send it again")
            self.check()

    def check(self) -> None:
        """Raises why there is no session and will be none."""
        if self._failure is not None:
            raise self._failure

    async def send(self, message: Message, timeout: float = ACCEPTED_WITHIN) -> Receipt:
        """Hands a message over and waits until the gateway has accepted it. Raises why it was refused.

        Raises :class:`NoAnswerError` after ``timeout`` seconds. The message is kept all the same and goes out when the gateway
        is there; the error's ``receipt`` has its outcome.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        receipt = await self.submit(message, timeout=timeout)
        return await receipt.accepted(max(0.0, until - loop.time()))

    async def send_and_wait(self, message: Message, timeout: float = 30.0) -> Message:
        """Sends a message and waits for the message that answers it.

        The message's deadline is ``timeout``, unless it names one. Raises :class:`UndeliveredError` as soon as it is
        known that no answer can come, and :class:`NoAnswerError` when none came in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        if message.deadline_ms is None:
            message.deadline_ms = max(1, min(int(timeout * 1000), 86_400_000))
        answer: asyncio.Future[Message] = loop.create_future()
        receipt = await self.submit(message, answer, timeout)
        try:
            await asyncio.wait({answer}, timeout=max(0.0, until - loop.time()))
            if answer.done():
                return answer.result()
            raise NoAnswerError(
                f"no answer from {message.receiver} within {timeout} s (the message is {receipt.state}); "
                "give it more time, or see whether it is there and answers"
            )
        finally:
            answer.cancel()
            self.sends.forget_answer(receipt)

    # ---- asking the gateway ----

    async def ask(self, op: str, timeout: float = ANSWER_WITHIN, **fields: Field) -> Event:
        """Asks the gateway itself, also across a lost connection; only for what may be asked twice."""
        self.check()
        return await self._questions.ask(op, timeout, fields)

    async def subscribe_groups(
        self, groups: Sequence[str], types: Optional[Sequence[MessageType]] = None, timeout: float = ANSWER_WITHIN
    ) -> List[str]:
        """Also hears what is sent to these groups, of these types or of all; returns all groups it hears now."""
        self.check()
        only = {} if types is None else {"types": types}
        return list((await self.ask("subscribe", timeout, groups=groups, **only))["groups"])

    async def unsubscribe_groups(self, groups: Sequence[str], timeout: float = ANSWER_WITHIN) -> List[str]:
        """No longer hears these groups; returns those it still hears."""
        self.check()
        return list((await self.ask("unsubscribe", timeout, groups=groups))["groups"])
