"""The state and the outcome of one message that was handed to the gateway.

Owns the states of a message, *handed over*, *accepted*, *completed*, and who waits for them. It does not know connections:
:mod:`mesh_gateway.sends` moves it on.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Dict, Generator, Mapping, Optional

from .errors import MeshError, NoAnswerError, UndeliveredError
from .message import Message, Outcome
from .printable import printable
from .waiting import Waiters

#: The longest deadline that a gateway takes, in milliseconds: a day, by docs/agents.md.
LONGEST_DEADLINE_MS = 86_400_000
#: How much longer than its deadline a receipt is waited for, in seconds. A guess: for a gateway that is away for a moment.
GRACE = 60.0

_OUTCOMES = {str(word): word for word in Outcome}


class Receipt:
    """The state of a message. ``await receipt`` is ``await receipt.outcome()``."""

    __slots__ = (
        "message", "ref", "id", "durable", "where", "why", "hops", "detail", "latency_ms", "is_processed",
        "line", "session", "answer", "disputed", "_began", "_outcome", "_error", "_waiters",
    )  # fmt: skip

    def __init__(self, message: Message, ref: int, line: str) -> None:
        self.message = message
        self.ref = ref
        #: The gateway's name for the message, as in ``0x0001/17``; empty until it is accepted.
        self.id = ""
        #: Whether *accepted* meant written and synced.
        self.durable = message.durable
        #: The node that says the outcome.
        self.where: Optional[str] = None
        #: Why, in words for people.
        self.why: Optional[str] = None
        #: The links it crossed.
        self.hops: Optional[int] = None
        #: What it waited for (``waited_for``, ``since_ms``) and who had custody last (``last_hop``, ``hops_on``), if it was not
        #: delivered; how many nodes have it (``reached``, ``known``), if it was for many. As far as that is known.
        self.detail: Optional[Dict[str, Any]] = None
        #: From when it was handed over here to when its receipt came, in milliseconds.
        self.latency_ms: Optional[float] = None
        #: Whether the receiving agent has acknowledged it; known only if the message asked for it.
        self.is_processed = False
        # The line as written, until it is accepted; the session it was last written in, 0 for none.
        self.line = line
        self.session = 0
        # Where the answer goes, if one is waited for.
        self.answer: Optional[asyncio.Future[Message]] = None
        # Whether an agent answered that was not asked.
        self.disputed = False
        self._began = time.monotonic()
        self._outcome: Optional[Outcome] = None
        self._error: Optional[MeshError] = None
        self._waiters: Optional[Waiters] = None

    # ---- for programs ----

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway has it."""
        return bool(self.id)

    @property
    def done(self) -> bool:
        """Whether it is known what became of it, or that it was refused."""
        return self._outcome is not None or self._error is not None

    @property
    def state(self) -> str:
        """In one word: ``waiting``, ``accepted``, ``failed`` or the outcome."""
        if self._outcome is not None:
            return str(self._outcome)
        if self._error is not None:
            return "failed"
        return "accepted" if self.id else "waiting"

    @property
    def reached(self) -> Optional[int]:
        """How many other nodes at least have it, of a message to a group or everyone; ``None`` if nothing was counted."""
        return None if self.detail is None else self.detail.get("reached")

    @property
    def known(self) -> Optional[int]:
        """How many other nodes the gateway knows, of a message to everyone; ``None`` also if more than that have it."""
        return None if self.detail is None else self.detail.get("known")

    @property
    def reached_text(self) -> str:
        """The same in words, ``reached at least 12 of 14 known nodes``; empty if nothing was counted."""
        if self.reached is None:
            return ""
        number = self.reached if self.known is None else self.known
        of = "" if self.known is None else f" of {self.known} known"
        return f"reached at least {self.reached}{of} node" + ("" if number == 1 else "s")

    @property
    def error(self) -> Optional[MeshError]:
        """Why it was refused or lost, if it was; of one that was delivered, why *processed* cannot come."""
        return self._error

    async def accepted(self, timeout: Optional[float] = None) -> Receipt:
        """Waits until the gateway has it; with ``durable``, until it is on disk there. Raises why it was refused."""
        if not self.id:
            await self._until(lambda: bool(self.id), timeout, "accepted")
        return self

    async def outcome(self, timeout: Optional[float] = None) -> Outcome:
        """Waits until it is known what became of it. *Not delivered* is an outcome too and not an exception.

        Without ``timeout``, at most for the message's deadline and a minute; for one without, a day and a minute.
        """
        if self._outcome is None:
            if timeout is None:
                timeout = (LONGEST_DEADLINE_MS if self.message.deadline_ms is None else self.message.deadline_ms) / 1000 + GRACE
            await self._until(lambda: self._outcome is not None, timeout, "receipt")
        assert self._outcome is not None
        return self._outcome

    async def processed(self, timeout: Optional[float] = None) -> Outcome:
        """Waits until the receiving agent has acknowledged it, or until it is completed otherwise than *delivered*.

        Only for a message with ``processed=True``. Without ``timeout`` it waits as long as the agent takes. Raises why that
        cannot come any more, as when the gateway has come back without what it had.
        """
        if not self.message.processed:
            raise ValueError("cannot wait for processed: send the message with processed=True")

        def over() -> bool:
            return self.is_processed or self._outcome not in (None, Outcome.DELIVERED)

        await self._until(over, timeout, "receipt \"processed\"")
        return Outcome.PROCESSED if self.is_processed else await self.outcome()

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.outcome().__await__()

    def __repr__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        why = f": {self.why}" if self.why else f": {self._error}" if self._error else ""
        reached = f"; {self.reached_text}" if self.reached_text else ""
        return f"<Receipt {self.id or self.ref} {self.state}{at}{why}{reached}>"

    async def _until(self, reached: Callable[[], bool], timeout: Optional[float], what: str) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        while not reached():
            if self._error is not None:
                raise self._error
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise self._late(what, timeout or 0.0)
            if self._waiters is None:
                self._waiters = Waiters()
            await self._waiters.wait(left)

    def _late(self, what: str, timeout: float) -> NoAnswerError:
        # It is kept until it is known what became of it, so it must not be sent again.
        error = NoAnswerError(
            f"no {what} for the message to {self.message.receiver} within {timeout:.3g} s; it is kept and may still come: "
            "wait on with the error's `receipt`, rather than send it again"
        )
        error.receipt = self
        return error

    # ---- for `sends` ----

    def take_accepted(self, event: Mapping[str, Any]) -> None:
        """The gateway has it. A receipt of it says so as well."""
        self.id = event["id"]
        self.line = ""
        self._wake()

    def take_receipt(self, event: Mapping[str, Any]) -> Outcome:
        """It is completed."""
        get = event.get
        self._outcome = outcome = _OUTCOMES[event["outcome"]]
        self.where = get("where")
        why = get("why")
        # The words of another node; they go into logs and to terminals.
        self.why = None if why is None else printable(why)
        self.hops = get("hops")
        self.detail = get("detail")
        self.latency_ms = (time.monotonic() - self._began) * 1000
        if outcome is Outcome.PROCESSED:
            self.is_processed = True
        if self.answer is not None and not outcome.good:
            self._no_answer(self._undelivered(outcome))
        self._wake()
        return outcome

    def take_processed(self) -> None:
        """The receiving agent has acknowledged it."""
        self.is_processed = True
        self._wake()

    def fail(self, error: MeshError) -> None:
        """It was refused or lost."""
        if not self.done:
            self._error = error
            self.line = ""
        if self.answer is not None:
            self._no_answer(error)
        self._wake()

    def give_up_processed(self, error: MeshError) -> None:
        """It was delivered, and *processed* cannot come any more."""
        self._error = error
        self._wake()

    def _undelivered(self, outcome: Outcome) -> UndeliveredError:
        why = f" ({self.why})" if self.why else ""
        error = UndeliveredError(
            f"no answer can come: the message {self.id} to {self.message.receiver} is {outcome}{why}; "
            "see get_agents() or `mesh-gateway agents` for who is there"
        )
        error.outcome = str(outcome)
        return error

    def _no_answer(self, error: MeshError) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)

    def _wake(self) -> None:
        if self._waiters is not None:
            self._waiters.wake_all()
