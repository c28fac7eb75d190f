"""Messages in flight: which wait for *accepted*, which for a receipt, which for an answer.

Owns the bounds on them, and what happens to each when the connection breaks and when it is there again. The number
(``ref``) of a message is used for it alone, also across connections and processes: a receipt that the gateway kept
therefore finds its message. A durable one has it as its ``key`` too: when the connection broke before *accepted* came, it
is written again, and the gateway takes it once.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any, Callable, Dict, Mapping, Optional

from .content import body_field, quote
from .errors import BusyError, ConnectionLostError, MeshError
from .message import Message, Outcome, may_answer
from .receipt import Receipt
from .waiting import Waiters

log = logging.getLogger("mesh_gateway.routing")

#: The most messages that wait for *accepted*: a little below the gateway's 1,024, where it stops reading, and of which it
#: remembers the keys.
MOST_UNACCEPTED = 1000
#: The most messages that are not completed: below the quarter of 10,000 that a gateway takes of one agent.
MOST_IN_FLIGHT = 2000
#: The most bytes that wait for *accepted*. A guess: ten of the longest lines.
MOST_BYTES = 4 * 1024 * 1024
#: The most messages whose *processed* is waited for, and the most questions that wait for an answer. A guess.
MOST_WAITED_FOR = 4096


class Sends:
    """The table of messages in flight."""

    def __init__(self, extra: Callable[..., Dict[str, Any]]) -> None:
        self._extra = extra
        self._next = secrets.randbits(62)
        #: Not completed, in the order in which they were handed over.
        self.table: Dict[int, Receipt] = {}
        self._answers: Dict[str, Receipt] = {}
        self._processing: Dict[int, Receipt] = {}
        self._unaccepted = 0
        self._bytes = 0
        self._room = Waiters()
        self._write: Optional[Callable[[str], None]] = None
        # The number of the last session with the gateway.
        self._session = 0

    def number(self) -> int:
        """A number that no other request has."""
        self._next += 1
        return self._next

    # ---- handing over ----

    def has_room(self) -> bool:
        """Whether one more may be put."""
        return (
            self._unaccepted < MOST_UNACCEPTED and len(self.table) < MOST_IN_FLIGHT and self._bytes < MOST_BYTES
        )

    async def room(self, seconds: float) -> bool:
        """Waits until there may be room for one more, or the table is closed; ``False`` if that did not happen in time."""
        return await self._room.wait(seconds)

    def wake(self) -> None:
        """There may be room for another reason."""
        self._room.wake_all()

    def put(self, message: Message, limit: int) -> Receipt:
        """Takes a message and writes it, now or once there is a connection. Raises what is wrong with its content."""
        ref = self.number()
        deadline, reply_to = message.deadline_ms, message.reply_to
        line = (
            f'{{"op":"send","ref":{ref},"to":{quote(message.receiver)},"type":"' + message.type
            + '","priority":"' + message.priority + '",'
            + (f'"deadline_ms":{int(deadline)},' if deadline is not None else "")
            + (f'"reply_to":{quote(reply_to)},' if reply_to is not None else "")
            + ("" if message.durable else '"durable":false,')
            + ('"receipt":"processed",' if message.processed else "")
            + (f'"key":{ref},' if message.durable else "")
            + body_field(message.content, limit) + "}\n"
        )  # fmt: skip
        receipt = Receipt(message, ref, line)
        self.table[ref] = receipt
        self._unaccepted += 1
        self._bytes += len(line)
        if self._write is not None:
            self._send(receipt)
        return receipt

    def _send(self, receipt: Receipt) -> None:
        assert self._write is not None
        receipt.session = self._session
        self._write(receipt.line)

    def expect_answer(self, receipt: Receipt) -> None:
        """Records that the answer to an accepted message is waited for."""
        if len(self._answers) >= MOST_WAITED_FOR:
            receipt.fail(BusyError(f"cannot wait for more than {MOST_WAITED_FOR} answers: wait for some, or use shorter timeouts"))
        else:
            self._answers[receipt.id] = receipt

    def forget_answer(self, receipt: Receipt) -> None:
        """Nobody waits for the answer any more."""
        self._answers.pop(receipt.id, None)

    # ---- what the gateway says ----

    def accepted(self, event: Mapping[str, Any]) -> None:
        """The gateway has a message."""
        receipt = self.table.get(event.get("ref", -1))
        if receipt is not None and not receipt.id:
            self._accept(receipt, event)

    def _accept(self, receipt: Receipt, event: Mapping[str, Any]) -> None:
        self._unaccepted -= 1
        self._bytes -= len(receipt.line)
        receipt.take_accepted(event)
        if receipt.answer is not None:
            self.expect_answer(receipt)
        self._room.wake()

    def receipt(self, event: Mapping[str, Any]) -> None:
        """A message is completed, or was acknowledged."""
        ref = event.get("ref", -1)
        receipt = self.table.pop(ref, None)
        if receipt is None:
            if event["outcome"] == Outcome.PROCESSED:
                waiting = self._processing.pop(ref, None)
                if waiting is not None:
                    waiting.take_processed()
            return
        if not receipt.id:
            # The connection broke before `accepted` came, and this was kept.
            self._accept(receipt, event)
        self._complete(receipt, event)

    def _complete(self, receipt: Receipt, event: Mapping[str, Any]) -> None:
        outcome = receipt.take_receipt(event)
        if not outcome.good or log.isEnabledFor(logging.DEBUG):
            self._log_outcome(receipt, outcome)
        if receipt.message.processed and outcome is Outcome.DELIVERED:
            if len(self._processing) >= MOST_WAITED_FOR:
                oldest = self._processing.pop(next(iter(self._processing)))
                oldest.give_up_processed(BusyError(f"more than {MOST_WAITED_FOR} messages wait for processed: this one is no longer watched"))
            self._processing[receipt.ref] = receipt
        self._room.wake()

    def _log_outcome(self, receipt: Receipt, outcome: Outcome) -> None:
        log.log(
            logging.DEBUG if outcome.good else logging.WARNING,
            "%s to %s: %s at %s after %s hops%s",
            receipt.id, receipt.message.receiver, outcome, receipt.where, receipt.hops,
            f" ({receipt.why})" if receipt.why else "",
            extra=self._extra(
                message_id=receipt.id, outcome=str(outcome), where=receipt.where, hops=receipt.hops,
                receiver=receipt.message.receiver, latency_ms=receipt.latency_ms,
            ),
        )  # fmt: skip

    def refused(self, ref: int, error: MeshError) -> bool:
        """The gateway would not have a message; whether it is one of ours."""
        receipt = self.table.get(ref)
        if receipt is None:
            return False
        self._drop(receipt, error)
        return True

    def answer(self, message: Message) -> bool:
        """An answer has come; whether somebody waited for it."""
        receipt = self._answers.get(message.reply_to or "")
        if receipt is None or receipt.answer is None or receipt.answer.done():
            return False
        if not may_answer(receipt.message.receiver, message.source):
            # Once for each question: whoever does this may do it often.
            level = logging.DEBUG if receipt.disputed else logging.WARNING
            receipt.disputed = True
            log.log(
                level, "%s answers %s to %s, and was not asked: it goes to the inbox, and the answer is still waited for",
                message.source, receipt.id, receipt.message.receiver,
                extra=self._extra(message_id=message.id, sender=message.source),
            )  # fmt: skip
            return False
        del self._answers[receipt.id]
        receipt.answer.set_result(message)
        return True

    # ---- the connection ----

    def lost(self) -> None:
        """The connection has ended."""
        self._write = None
        for receipt in list(self.table.values()):
            if receipt.durable or not receipt.session:
                continue
            if receipt.id:
                self._presume(receipt, "it was not durable, and the connection to the gateway ended")
            else:
                what = "the connection ended before the gateway said accepted, and the message was not durable"
                self._drop(receipt, ConnectionLostError(f"{what}: send it again only if twice does no harm"))

    def resume(self, write: Callable[[str], None], session: int, remembers: bool) -> None:
        """There is a connection again; ``remembers`` says whether the gateway still knows what it knew before."""
        self._write, self._session = write, session
        if not remembers:
            self.forgotten()
        for receipt in [receipt for receipt in self._processing.values() if not receipt.durable]:
            self._never_processed(receipt, "it was not durable, and an `ack` that came while this session was away is not reported")
        for receipt in list(self.table.values()):
            if receipt.id:
                continue
            if receipt.session and not remembers:
                what = "the gateway was lost before it said accepted, and has come back without what it had"
                self._drop(receipt, ConnectionLostError(f"{what}: send it again only if twice does no harm"))
            else:
                self._send(receipt)

    def forgotten(self) -> None:
        """The gateway has come back without what it had accepted before this session."""
        for receipt in list(self.table.values()):
            if receipt.id and receipt.session != self._session:
                self._presume(receipt, "the gateway has come back without what it had accepted")
        for receipt in [receipt for receipt in self._processing.values() if receipt.session != self._session]:
            self._never_processed(
                receipt, "the gateway has come back without what it had, or the name it would be sent to was that of a session that ended"
            )

    def close(self, error: MeshError) -> None:
        """Nothing more will come."""
        self._write = None
        for receipt in list(self.table.values()):
            self._drop(receipt, error)
        for receipt in self._answers.values():
            receipt.fail(error)
        for receipt in self._processing.values():
            receipt.give_up_processed(error)
        self._answers.clear()
        self._processing.clear()
        self._room.wake_all()

    def _never_processed(self, receipt: Receipt, why: str) -> None:
        del self._processing[receipt.ref]
        what = f"no receipt \"processed\" can come for the message to {receipt.message.receiver}, which was delivered"
        receipt.give_up_processed(ConnectionLostError(f"{what}: {why}; ask its receiver"))

    def _presume(self, receipt: Receipt, why: str) -> None:
        del self.table[receipt.ref]
        self._complete(receipt, {"outcome": Outcome.UNKNOWN, "why": why})

    def _drop(self, receipt: Receipt, error: MeshError) -> None:
        del self.table[receipt.ref]
        if not receipt.id:
            self._unaccepted -= 1
            self._bytes -= len(receipt.line)
        receipt.fail(error)
        self._room.wake()
