"""A message's way from one program to another, and what its sender is told."""

from __future__ import annotations

import asyncio

from support import PATIENCE, GatewayCase, within
from mesh_gateway import (
    Message, MeshNetworkManager, MessageType, NoAnswerError, Outcome, Priority, TooLargeError, UndeliveredError,
    UnknownReceiverError, create_mesh_enabled_protocol,
)  # fmt: skip


class Messages(GatewayCase):
    async def test_a_parameter_update_goes_from_a_trainer_to_a_worker(self) -> None:
        trainer, worker = await self.manager("trainer"), await self.manager("worker_001")
        for content in [{"w": [1.5, None, True]}, "plain text", "42", 42, b"\x00\xff", [], None, ""]:
            update = Message(
                type=MessageType.PARAMETER_UPDATE, sender="trainer", receiver="worker_001", content=content,
                priority=Priority.HIGH,
            )  # fmt: skip
            receipt = await within(trainer.send_message(update))
            self.assertTrue(receipt.is_accepted)
            self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
            self.assertTrue(receipt.done)
            got = await worker.receive_message(PATIENCE)
            self.assertEqual((got.content, type(got.content)), (content, type(content)))
            self.assertEqual((got.type, got.priority), (MessageType.PARAMETER_UPDATE, Priority.HIGH))
            self.assertEqual((got.sender, got.receiver, got.id), ("trainer", "worker_001", receipt.id))
            self.assertEqual(got.source, f"trainer@{trainer.node}")

    async def test_every_type_and_priority_crosses_as_on_the_wire(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        sent = [(kind, urgency) for kind in MessageType for urgency in Priority]
        for kind, urgency in sent:
            await within(alice.send_message(Message(kind, receiver="bob", content=1, priority=urgency)))
        got = [await bob.receive_message(PATIENCE) for _ in sent]
        self.assertEqual([(message.type, message.priority) for message in got], sent)
        self.assertEqual([str(word) for word in Priority], ["CRITICAL", "HIGH", "MEDIUM", "LOW"])

    async def test_a_thousand_messages_are_on_their_way_at_once_and_each_has_its_receipt(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        sends = [alice.send_message(Message("TASK", receiver="bob", content=n)) for n in range(1000)]
        receipts = await within(asyncio.gather(*sends))
        self.assertEqual(len({receipt.id for receipt in receipts}), 1000)
        outcomes = await within(asyncio.gather(*receipts))
        self.assertEqual(set(outcomes), {Outcome.DELIVERED})
        got = [await bob.receive_message(PATIENCE) for _ in range(1000)]
        self.assertEqual([message.content for message in got], list(range(1000)))
        self.assertEqual([message.id for message in got], [receipt.id for receipt in receipts])

    async def test_more_than_there_is_room_for_wait_and_the_tables_stay_bounded(self) -> None:
        alice = await self.manager("alice")
        bob = await self.manager("bob", credits=16)
        most = 0
        reader = asyncio.create_task(self.count(bob, 5000))
        receipts = []
        for n in range(5000):
            receipts.append(await within(alice.submit(Message("TASK", receiver="bob", content=n))))
            most = max(most, len(alice.agent.sends.table))
        await within(asyncio.gather(*receipts))
        self.assertLessEqual(most, 2000)
        self.assertEqual(await within(reader), list(range(5000)))
        self.assertEqual(alice.agent.sends.table, {})

    async def count(self, mesh: MeshNetworkManager, n: int) -> list[int]:
        got = []
        async for message in mesh:
            self.assertLessEqual(len(mesh.agent.inbox.main.unread), 16)
            got.append(message.content)
            if len(got) == n:
                return got
        return got

    async def test_processed_is_told_when_the_receiver_has_acknowledged(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        receipt = await within(alice.send_message(Message("TASK", receiver="bob", content=1, processed=True)))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        message = await bob.receive_message(PATIENCE, auto_ack=False)
        self.assertFalse(receipt.is_processed)
        bob.acknowledge(message)
        self.assertEqual(await within(receipt.processed()), Outcome.PROCESSED)

    async def test_a_message_that_is_not_durable_is_delivered_too(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        receipt = await within(alice.send_message(Message("TASK", receiver="bob", content=1, durable=False)))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        self.assertEqual((await bob.receive_message(PATIENCE)).content, 1)

    async def test_a_message_for_a_group_is_sent_and_heard(self) -> None:
        cook, waiter = await self.manager("cook"), await self.manager("waiter")
        self.assertEqual(await within(waiter.join_group("kitchen")), ["kitchen"])
        receipt = await within(cook.broadcast("dinner", group="kitchen"))
        self.assertEqual(await within(receipt.outcome()), Outcome.SENT)
        self.assertEqual((await waiter.receive_message(PATIENCE)).content, "dinner")
        self.assertEqual(await within(waiter.leave_group("kitchen")), [])

    async def test_wrong_use_is_told_with_what_to_do(self) -> None:
        alice = await self.manager("alice")
        with self.assertRaisesRegex(UnknownReceiverError, "no agent nobody has ever attached to this gateway; `mesh-gateway agents` lists"):
            await within(alice.send_message(Message("TASK", receiver=f"nobody@{alice.node}")))
        with self.assertRaisesRegex(TooLargeError, "send it in parts"):
            await within(alice.send_message(Message("TASK", receiver="alice", content="x" * 65_537)))
        with self.assertRaisesRegex(ValueError, "leave sender out"):
            await within(alice.send_message(Message("TASK", sender="bob", receiver="alice")))
        with self.assertRaisesRegex(ValueError, "use one of TASK"):
            Message("CHORE", receiver="alice")
        with self.assertRaisesRegex(ValueError, "1 to 32 ASCII letters"):
            MeshNetworkManager("no spaces")
        self.assertEqual(alice.agent.sends.table, {})

    async def test_a_handler_gets_its_type_and_the_rest_stays_to_be_received(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        handled: asyncio.Queue[int] = asyncio.Queue()

        async def on_task(message: Message) -> None:
            if message.content == 1:
                raise RuntimeError("a mistake in a handler stops nobody")
            await handled.put(message.content)

        bob.subscribe(MessageType.TASK, on_task)
        with self.assertRaisesRegex(ValueError, "unsubscribe it first"):
            bob.subscribe(MessageType.TASK, on_task)
        for n in range(3):
            await within(alice.send_message(Message("TASK", receiver="bob", content=n)))
            await within(alice.send_message(Message("NOTIFICATION", receiver="bob", content=n)))
        self.assertEqual([await within(handled.get()) for _ in range(2)], [0, 2])
        self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in range(3)], [0, 1, 2])
        bob.unsubscribe(MessageType.TASK)
        await within(alice.send_message(Message("TASK", receiver="bob", content=3)))
        self.assertEqual((await bob.receive_message(PATIENCE)).content, 3)


class Neglect(GatewayCase):
    async def test_who_never_receives_is_warned_and_holds_no_more_than_its_credits(self) -> None:
        alice = await self.manager("alice")
        with self.assertLogs("mesh_gateway.agent", "WARNING") as told:
            bob = await self.manager("bob", credits=8)
            for n in range(50):
                await within(alice.send_message(Message("TASK", receiver="bob", content=n)))
            await within(bob.agent.ask("ping"))
        self.assertEqual([record.levelname for record in told.records], ["WARNING"])
        self.assertIn("call receive_message", told.output[0])
        self.assertEqual(len(bob.agent.inbox.main.unread), 8)
        self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in range(50)], list(range(50)))


class Questions(GatewayCase):
    nodes = 10

    async def test_a_simulated_device_answers(self) -> None:
        alice = await self.manager("alice")
        self.assertEqual(await within(alice.query("echo", {"are": "you there?"})), {"are": "you there?"})

    async def test_two_hundred_questions_in_flight_each_get_their_own_answer(self) -> None:
        protocol = create_mesh_enabled_protocol("node_001", gateway=self.gateway.endpoint)
        await within(protocol.start())
        self.addAsyncCleanup(protocol.stop)
        oracle = await self.manager("oracle")
        waiting = []

        async def on_query(message: Message) -> None:
            # Answered backwards, so that order alone does not match them.
            waiting.append(message)
            if len(waiting) == 200:
                for asked in reversed(waiting):
                    await oracle.reply(asked, asked.content * 2)

        oracle.subscribe("QUERY", on_query)
        answers = await within(asyncio.gather(*(protocol.query("oracle", n) for n in range(200))))
        self.assertEqual(answers, [2 * n for n in range(200)])
        task = Message("TASK", receiver="oracle", content=0)
        with self.assertRaisesRegex(NoAnswerError, "no answer from oracle within 0.05 s"):
            await within(protocol.send_and_wait(task, timeout=0.05))

    async def test_a_question_that_cannot_be_delivered_fails_without_waiting(self) -> None:
        alice = await self.manager("alice")
        question = Message("QUERY", receiver="nobody@0x0fff", content=1, deadline_ms=100)
        with self.assertRaises(UndeliveredError) as caught:
            await within(alice.send_and_wait(question, timeout=3600.0))
        self.assertIn(caught.exception.outcome, ("expired", "unknown"))
        with self.assertRaises(UnknownReceiverError):
            await within(alice.query(f"nobody@{alice.node}", 1, timeout=3600.0))

    async def test_nothing_to_receive_is_told_in_time(self) -> None:
        alice = await self.manager("alice")
        with self.assertRaisesRegex(asyncio.TimeoutError, "no message came for alice within 0.01 s"):
            await within(alice.receive_message(0.01))
