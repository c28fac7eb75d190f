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
from .content import quote
from .endpoint import Endpoint, find_endpoint, find_token
from .errors import GatewayAwayError, MeshError, NoAnswerError, NotStartedError, WrongCertificateError, refusal
from .inbox import Inbox
from .message import Message, MessageType, check_name, received
from .questions import Questions
from .receipt import Receipt
from .sends import Sends
from .wire import Event, Wire

log = logging.getLogger("mesh_gateway.agent")

#: The first and the longest pause between two attempts to connect, in seconds: those of the gateway's own commands.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: How long a gateway may take to say welcome, in seconds, and to close after ``bye``. Guesses, those of its commands.
WELCOME_WITHIN, PARTING_WITHIN = 10.0, 5.0
#: The body a gateway takes until it has said so itself, in bytes.
USUAL_MAX_BODY = 65_536

# Refusals that pass; after any other it would be no use, or harm, to connect again.
_PASSING = frozenset({"shutting_down", "overloaded", "too_late"})


class Agent:
    """A session with a gateway under a name."""

    def __init__(
        self,
        name: str,
        *,
        gateway: Union[str, Endpoint, None] = None,
        token: Optional[str] = None,
        token_file: Union[str, Path, None] = None,
        fingerprint: Optional[str] = None,
        credits: int = 256,
    ) -> None:
        self.name = check_name(name)
        self.endpoint = find_endpoint(gateway, fingerprint=fingerprint)
        self.sends = Sends(self._extra)
        self.inbox = Inbox(credits, self._forgotten, self._extra)
        self._questions = Questions(self.sends.number)
        #: What the gateway said in its last ``welcome``; empty before the first.
        self.welcome: Event = {}
        #: How often it has been connected.
        self.sessions = 0
        #: How many messages of each type came.
        self.received_by_type: Counter[str] = Counter()
        self._token = find_token(token, token_file)
        self._wire: Optional[Wire] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._up: Optional[asyncio.Event] = None
        self._closing = False
        self._failure: Optional[MeshError] = NotStartedError(f"{name} is not started: call start() first")
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

    async def start(self, timeout: float = 10.0) -> None:
        """Connects. Tries for ``timeout`` seconds while no gateway answers, then raises :class:`GatewayAwayError`."""
        if self._task is not None:
            return
        if self._closing:
            raise NotStartedError(f"{self.name} was stopped: make a new one")
        self._failure = None
        self._up = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"mesh_gateway {self.name}")
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait({up, self._task}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end(NotStartedError(f"{self.name} was stopped while it started"))
            raise
        finally:
            up.cancel()
        if not self._up.is_set():
            failure = self._failure or GatewayAwayError(
                f"no gateway answers at {self.endpoint} ({self._trouble or f'no welcome within {timeout} s'}): "
                "start one with `mesh-gateway --adapter sim`, or say where it is with gateway= or MESH_GATEWAY"
            )
            await self._end(failure)
            raise failure

    async def stop(self) -> None:
        """Says goodbye after all that was asked before, and ends the session. Receipts still out fail."""
        if self._task is None:
            return
        self._closing = True
        self.inbox.flush()
        if self._wire is not None and self.connected:
            self._wire.write('{"op":"bye"}\n')
            await asyncio.wait({self._wire.lost}, timeout=PARTING_WITHIN)
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
                self._trouble = str(why) or "no welcome in time"
                level = logging.DEBUG if self.sessions == 0 else logging.WARNING
                log.log(level, "no gateway at %s: %s", self.endpoint, self._trouble, extra=self._extra())
            except WrongCertificateError as why:
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
        self._wire = current = await asyncio.wait_for(
            wire.connect(self.endpoint, self._on_events, self.sends.wake), WELCOME_WITHIN
        )
        assert self._up is not None
        try:
            current.write(self._hello())
            up = asyncio.ensure_future(self._up.wait())
            either: Set[asyncio.Future[Any]] = {up, current.lost}
            try:
                await asyncio.wait(either, timeout=WELCOME_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
            if not self._up.is_set():
                raise OSError(current.lost.result() if current.lost.done() else "no welcome in time")
            return await asyncio.shield(current.lost)
        finally:
            self._up.clear()
            self.sends.lost()
            self.inbox.lost()
            self._questions.lost()
            current.close()

    def _hello(self) -> str:
        token = f',"token":{quote(self._token)}' if self._token and not self.endpoint.path else ""
        resume = self.inbox.resume_cursor()
        behind = "" if resume is None else f',"resume":{resume}'
        return f'{{"op":"hello","name":"{self.name}","credits":{self.inbox.limit}{token}{behind}}}\n'

    def _welcomed(self, event: Event) -> None:
        # Here and not in a task: what the gateway kept for us may follow in the same batch of events.
        assert self._wire is not None and self._up is not None
        write, gateway = self._wire.write, event["gateway"]
        same_life = self.inbox.begin(write, event["node"], event["resumed_from"], event["credits"])
        self.welcome = event
        self.sessions += 1
        self._up.set()
        self._questions.resume(write)
        self.sends.resume(write, self.sessions, same_life)
        again = "again " if self.sessions > 1 else ""
        log.info("connected %sto %s at %s", again, gateway, self.endpoint, extra=self._extra(node=event["node"]))
        if not same_life:
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
            self._wire.ends(f"it said goodbye ({event['why']})")
        else:
            self._questions.answered(event)

    def _refused(self, event: Event) -> None:
        error = refusal(event)
        ref = event.get("ref")
        if event.get("fatal"):
            self._refusal = error
        elif ref is None:
            if not self._questions.refused_groups(error):
                log.warning("%s", error, extra=self._extra(code=error.code))
        elif self._questions.refused(ref, error):
            return
        elif self.sends.refused(ref, error):
            log.info("message refused: %s", error, extra=self._extra(code=error.code))

    def _extra(self, **more: Any) -> Dict[str, Any]:
        return {"agent": self.name, "gateway": str(self.endpoint), **more}

    # ---- messages ----

    async def submit(self, message: Message, answer: Optional[asyncio.Future[Message]] = None) -> Receipt:
        """Hands a message over and returns at once, or as soon as there is room; the receipt tells the rest."""
        sends = self.sends
        if message.sender and message.sender != self.name:
            raise ValueError(
                f"cannot send as {message.sender!r}: this is {self.name!r}; leave sender out, or use an agent of that name"
            )
        self.check()
        while not sends.has_room() or (self._wire is not None and self._wire.full):
            await sends.room()
            self.check()
        receipt = sends.put(message, int(self.welcome.get("max_body", USUAL_MAX_BODY)))
        receipt.answer = answer
        return receipt

    def check(self) -> None:
        """Raises why there is no session and will be none."""
        if self._failure is not None:
            raise self._failure

    async def send(self, message: Message) -> Receipt:
        """Hands a message over and waits until the gateway has accepted it. Raises why it was refused."""
        return await (await self.submit(message)).accepted()

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
        receipt = await self.submit(message, answer)
        try:
            await asyncio.wait({answer}, timeout=max(0.0, until - loop.time()))
            if answer.done():
                return answer.result()
            raise NoAnswerError(
                f"no answer from {message.receiver} within {timeout} s (the message is {receipt.state}): "
                "give it more time, or see whether it is there and answers"
            )
        finally:
            answer.cancel()
            self.sends.forget_answer(receipt)

    # ---- asking the gateway ----

    async def ask(self, op: str, timeout: float = 30.0, **fields: Union[str, int]) -> Event:
        """Asks the gateway itself, also across a lost connection; only for what may be asked twice."""
        self.check()
        return await self._questions.ask(op, timeout, fields)

    async def subscribe_groups(self, groups: Sequence[str], types: Optional[Sequence[MessageType]] = None) -> List[str]:
        """Also hears what is sent to these groups, of these types or of all; returns all groups it hears now."""
        self.check()
        return await self._questions.ask_groups("subscribe", groups, types)

    async def unsubscribe_groups(self, groups: Sequence[str]) -> List[str]:
        """No longer hears these groups; returns those it still hears."""
        self.check()
        return await self._questions.ask_groups("unsubscribe", groups, None)
