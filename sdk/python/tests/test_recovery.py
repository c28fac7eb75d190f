"""What holds when the gateway or the connection is lost: the program goes on by itself, and nothing comes twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Tuple
from unittest import mock

from scripted import HANG_UP, ScriptedGateway
from support import PATIENCE, GatewayCase, within
from mesh_gateway import (
    BusyError, ConnectionLostError, GatewayAwayError, MeshNetworkManager, Message, NameTakenError, NotStartedError, Outcome, Receipt,
    UnauthorisedError, UnsupportedError,
)  # fmt: skip
from mesh_gateway.simulated import find_gateway


class Losses(GatewayCase):
    async def test_a_gateway_is_killed_under_load_and_every_durable_message_arrives_once(self) -> None:
        seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
        print(f"seed {seed} (SEED={seed} repeats it)")
        dice = random.Random(seed)
        alice, bob = await self.manager("alice"), await self.manager("bob")
        total, kills = 4000, 3
        got: List[int] = []
        at = sorted(dice.randrange(100, total - 200) for _ in range(kills))

        async def receive() -> None:
            async for message in bob:
                got.append(message.content)
                if len(got) == total:
                    return

        async def send() -> List[Receipt]:
            return [await alice.submit(Message("TASK", receiver="bob", content=n)) for n in range(total)]

        async def kill() -> None:
            for session, reached in enumerate(at, 1):
                while len(got) < reached or {alice.agent.sessions, bob.agent.sessions} != {session}:
                    await asyncio.sleep(0)
                self.gateway.kill()
                await self.gateway.start()

        receiving, killing = asyncio.create_task(receive()), asyncio.create_task(kill())
        receipts = await within(send())
        outcomes = await within(asyncio.gather(*receipts))
        await within(receiving)
        await within(killing)
        self.assertEqual(Counter(outcomes), {Outcome.DELIVERED: total})
        self.assertEqual(Counter(got), Counter(range(total)))
        # Nothing more is on its way: what is asked for last is what comes next.
        await within(alice.send_message(Message("TASK", receiver="bob", content="last")))
        self.assertEqual((await bob.receive_message(PATIENCE)).content, "last")
        self.assertEqual((alice.agent.sessions, bob.agent.sessions), (kills + 1, kills + 1))

    async def test_what_was_not_acknowledged_comes_again_to_the_next_process_and_the_rest_does_not(self) -> None:
        alice = await self.manager("alice")
        first = MeshNetworkManager("bob", gateway=self.gateway.endpoint)
        await within(first.start())
        for n in range(3):
            await within(alice.send_message(Message("TASK", receiver="bob", content=n)))
        with self.assertRaises(RuntimeError):
            async with first:
                self.assertEqual((await first.receive_message(PATIENCE)).content, 0)
                self.assertEqual((await first.receive_message(PATIENCE)).content, 1)
                raise RuntimeError("it fails while it handles 1")
        second = await self.manager("bob")
        self.assertEqual([(await second.receive_message(PATIENCE)).content for _ in range(2)], [1, 2])
        await within(second.stop())
        third = await self.manager("bob")
        await within(alice.send_message(Message("TASK", receiver="bob", content=3)))
        self.assertEqual((await third.receive_message(PATIENCE)).content, 3)

    async def test_what_is_in_hand_when_the_gateway_is_lost_is_not_given_out_again(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        for n in range(4):
            await within(alice.send_message(Message("TASK", receiver="bob", content=n)))
        taken = [await bob.receive_message(PATIENCE, auto_ack=False) for _ in range(3)]
        # Handled out of order: the gateway may not be told of it while 0 is open.
        bob.acknowledge(taken[1])
        self.gateway.kill()
        await self.gateway.start()
        await within(alice.send_message(Message("TASK", receiver="bob", content=4)))
        self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in range(2)], [3, 4])
        bob.acknowledge(taken[0])
        bob.acknowledge(taken[2])
        await within(bob.stop())
        again = await self.manager("bob")
        await within(alice.send_message(Message("TASK", receiver="bob", content=5)))
        self.assertEqual((await again.receive_message(PATIENCE)).content, 5)

    async def test_what_is_sent_while_the_gateway_is_away_goes_out_when_it_is_back(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        self.gateway.kill()
        while alice.connected:
            await asyncio.sleep(0)
        sending = asyncio.create_task(alice.send_message(Message("TASK", receiver="bob", content="late")))
        asking = asyncio.create_task(alice.get_peers())
        await self.gateway.start()
        self.assertEqual(await within((await within(sending)).outcome()), Outcome.DELIVERED)
        self.assertEqual((await bob.receive_message(PATIENCE)).content, "late")
        self.assertIn("peers", await within(asking))

    async def test_an_accepted_message_that_is_not_durable_is_unknown_after_a_loss(self) -> None:
        alice = await self.manager("alice")
        lone = Message("TASK", receiver="not-yet-here", content=1, durable=False)
        receipt = await within(alice.send_message(lone))
        self.gateway.kill()
        self.assertEqual(await within(receipt.outcome()), Outcome.UNKNOWN)
        self.assertIn("not durable", receipt.why or "")

    async def test_a_gateway_that_comes_back_without_its_disk_does_not_leave_anyone_waiting(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        for n in range(3):
            await within(alice.send_message(Message("TASK", receiver="bob", content=n)))
        taken = await bob.receive_message(PATIENCE)
        lost = await within(alice.send_message(Message("TASK", receiver="not-yet-here", content=1)))
        self.gateway.kill()
        for path in self.gateway_files():
            path.unlink()
        await self.gateway.start()
        self.assertEqual(await within(lost.outcome()), Outcome.UNKNOWN)
        # The new life counts from 1 again: old cursors must neither acknowledge nor hide what comes now.
        self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in range(2)], [1, 2])
        bob.acknowledge(taken)
        while not bob.connected:
            await asyncio.sleep(0.01)
        await within(alice.send_message(Message("TASK", receiver="bob", content="new")))
        self.assertEqual((await bob.receive_message(PATIENCE)).content, "new")

    def gateway_files(self) -> List[Path]:
        folder = Path(self.gateway.endpoint[len("unix:") :]).parent
        return [path for path in folder.rglob("*") if path.is_file() and path.name not in ("gateway.log", "gateway.lock")]

    async def test_who_loses_its_name_to_another_does_not_take_it_back(self) -> None:
        older = await self.manager("alice")
        waiting = asyncio.create_task(older.receive_message())
        newer = await self.manager("alice")
        with self.assertRaisesRegex(NameTakenError, "use another name to have both"):
            await within(waiting)
        with self.assertRaises(NameTakenError):
            await within(older.send_message(Message("TASK", receiver="alice")))
        await within(newer.send_message(Message("TASK", receiver="alice", content="still here")))
        self.assertEqual((await newer.receive_message(PATIENCE)).content, "still here")

    async def test_after_stop_what_waits_is_told_so(self) -> None:
        alice = await self.manager("alice")
        receipt = await within(alice.send_message(Message("TASK", receiver="not-yet-here")))
        waiting = asyncio.create_task(alice.receive_message())
        await asyncio.sleep(0)
        await within(alice.stop())
        for work in (waiting, receipt.outcome(), alice.send_message(Message("TASK", receiver="bob"))):
            with self.assertRaisesRegex(NotStartedError, "was stopped"):
                await within(work)
        await within(alice.start())
        await within(alice.send_message(Message("TASK", receiver="alice")))


class Unanswered(GatewayCase):
    """A connection that is lost between a send and its *accepted*."""

    async def test_an_unanswered_send_that_was_not_accepted_is_sent_again(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        receipt = await self.lose_before_accepted(alice, Message("TASK", receiver="bob", content="once"), written=False)
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        self.assertEqual((await bob.receive_message(PATIENCE)).content, "once")

    async def test_an_unanswered_send_that_was_accepted_arrives_once(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        receipt = await self.lose_before_accepted(alice, Message("TASK", receiver="bob", content="once"), written=True)
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        await within(alice.send_message(Message("TASK", receiver="bob", content="last")))
        self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in range(2)], ["once", "last"])

    async def test_an_unanswered_send_that_is_not_durable_fails(self) -> None:
        alice = await self.manager("alice")
        message = Message("TASK", receiver="bob", content="once", durable=False)
        receipt = await self.lose_before_accepted(alice, message, written=False)
        with self.assertRaisesRegex(ConnectionLostError, "only if twice does no harm"):
            await within(receipt.outcome())

    async def lose_before_accepted(self, mesh: MeshNetworkManager, message: Message, written: bool) -> Receipt:
        """Loses the connection so that ``accepted`` does not come; ``written`` says whether the gateway got the send."""
        wire = mesh.agent._wire
        assert wire is not None
        wire._on_events = lambda events: None
        if not written:
            # It is as if the line had been written, and lost on its way.
            with mock.patch.object(wire, "write"), mock.patch.object(mesh.agent.sends, "_write", lambda line: None):
                receipt = await mesh.submit(message)
        else:
            receipt = await mesh.submit(message)
            other = await self.manager(f"{mesh.agent_id}-2")
            while (await other.agent.ask("status"))["inbox"] < 2:
                await asyncio.sleep(0.01)
        wire.abort("a test")
        return receipt


class Doors(unittest.IsolatedAsyncioTestCase):
    async def test_no_gateway_there_is_told_with_what_to_do(self) -> None:
        mesh = MeshNetworkManager("alice", gateway="unix:/nowhere/agents.sock", connect_timeout=0.05)
        with self.assertRaisesRegex(GatewayAwayError, "there is no such socket; see whether the gateway runs"):
            await within(mesh.start())
        with self.assertRaisesRegex(NotStartedError, "call start"):
            await mesh.send_message(Message("TASK", receiver="bob"))
        with self.assertRaisesRegex(NotStartedError, "call start"):
            await mesh.receive_message()
        with mock.patch.dict(os.environ):
            os.environ.pop("MESH_GATEWAY", None)
            self.assertEqual(MeshNetworkManager("alice", port=8000).gateway, "127.0.0.1:8000")
            self.assertEqual(MeshNetworkManager("alice").gateway, "127.0.0.1:7700")
            os.environ["MESH_GATEWAY"] = "unix:/run/mesh.sock"
            self.assertEqual(MeshNetworkManager("alice").gateway, "unix:/run/mesh.sock")
            self.assertEqual(MeshNetworkManager("alice", port=8000).gateway, "127.0.0.1:8000")
            self.assertEqual(MeshNetworkManager("alice", port=8000, gateway="10.0.0.1:7700").gateway, "10.0.0.1:7700")
        for wrong in ["localhost", "unix:", "host:0", ":7700"]:
            with self.assertRaisesRegex(ValueError, "write HOST:PORT"):
                MeshNetworkManager("alice", gateway=wrong)


class Tokens(GatewayCase):
    async def asyncSetUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = os.path.join(folder.name, "token")
        with open(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("a-token-of-some-length\n")
        self.options = ["--access-token-file", self.file]
        await super().asyncSetUp()

    async def test_a_token_comes_from_an_argument_the_environment_or_a_file(self) -> None:
        door = self.gateway.listens_at()
        ways = [
            (dict(token="a-token-of-some-length"), {}),
            (dict(token_file=self.file), {}),
            ({}, {"MESH_GATEWAY_TOKEN": "a-token-of-some-length"}),
            ({}, {"MESH_GATEWAY_TOKEN_FILE": self.file}),
        ]
        for options, environment in ways:
            with mock.patch.dict(os.environ, {**environment, "MESH_GATEWAY": door}):
                async with MeshNetworkManager("alice", **options) as mesh:  # type: ignore[arg-type]
                    self.assertEqual(mesh.gateway, door)
        for options in ({}, {"token": "wrong"}):
            with self.assertRaisesRegex(UnauthorisedError, "MESH_GATEWAY_TOKEN_FILE"):
                await within(MeshNetworkManager("alice", gateway=door, **options).start())  # type: ignore[arg-type]
        # Whoever may open the Unix socket needs none.
        await self.manager("alice")

    async def test_a_token_for_other_names_is_not_said_to_be_missing(self) -> None:
        folder = self.gateway.endpoint[len("unix:") : -len("/agents.sock")]
        limited = subprocess.run(
            [find_gateway(), "token", "add", "sensor", "--as", "sensor-*", "--data-dir", folder], capture_output=True, check=True
        )
        told = limited.stdout.decode().strip()
        with mock.patch.dict(os.environ, {"MESH_GATEWAY": self.gateway.listens_at()}):
            # A running gateway looks for new tokens now and then.
            refused = "is wrong"
            while "is wrong" in refused:
                with self.assertRaises(UnauthorisedError) as caught:
                    await within(MeshNetworkManager("alice", token=told).start())
                refused = str(caught.exception)
            self.assertIn("is for sensor-*; use such a name", refused)
            self.assertNotIn("MESH_GATEWAY_TOKEN", refused)
            async with MeshNetworkManager("sensor-1", token=told) as sensor:
                self.assertTrue(sensor.connected)


class Processed(unittest.IsolatedAsyncioTestCase):
    """Messages that were delivered, whose receiver has not acknowledged them yet."""

    @staticmethod
    def delivers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
        if request["op"] != "send":
            return []
        of = f"0x0001/{request['ref']}"
        receipt = {"ev": "receipt", "id": of, "outcome": "delivered", "where": "0x0002"}
        return [{"ev": "accepted", "id": of, "durable": request.get("durable", True)}, receipt]

    async def delivered(self, mesh: MeshNetworkManager, durable: bool = True) -> Tuple[Receipt, asyncio.Task[Outcome]]:
        """A message that was, and the wait for *processed*."""
        receipt = await within(mesh.send_message(Message("TASK", receiver="bob", processed=True, durable=durable)))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        return receipt, asyncio.create_task(receipt.processed())

    async def test_who_waits_for_processed_is_told_when_the_gateway_forgot_it(self) -> None:
        for name in ("alice", None):
            async with ScriptedGateway(self.delivers) as gateway, MeshNetworkManager(name, gateway=gateway.endpoint) as mesh:
                receipt, waiting = await self.delivered(mesh)
                gateway.node = "0x0007"  # It has lost its data.
                assert mesh.agent._wire is not None
                mesh.agent._wire.abort("a test")
                with self.assertRaisesRegex(ConnectionLostError, "\"processed\" can come .* to bob, which was delivered: .* ask its"):
                    await within(waiting)
                self.assertEqual((receipt.state, await within(receipt.outcome())), ("delivered", Outcome.DELIVERED))

    async def test_who_waits_for_processed_of_what_is_not_durable_is_told_when_the_session_comes_anew(self) -> None:
        async with ScriptedGateway(self.delivers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
            _, kept = await self.delivered(alice)
            receipt, waiting = await self.delivered(alice, durable=False)
            assert alice.agent._wire is not None
            alice.agent._wire.abort("a test")
            with self.assertRaisesRegex(ConnectionLostError, "to bob, which was delivered: it was not durable, .*; ask its receiver"):
                await within(waiting)
            self.assertEqual((receipt.state, alice.agent.sessions, kept.done()), ("delivered", 2, False))
            kept.cancel()

    async def test_who_waits_for_processed_is_told_of_stop(self) -> None:
        async with ScriptedGateway(self.delivers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
            _, waiting = await self.delivered(alice)
            await within(alice.stop())
            with self.assertRaisesRegex(NotStartedError, "was stopped"):
                await within(waiting)

    async def test_who_waits_for_too_many_is_told_which_is_no_longer_watched(self) -> None:
        with mock.patch("mesh_gateway.sends.MOST_WAITED_FOR", 1):
            async with ScriptedGateway(self.delivers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
                _, waiting = await self.delivered(alice)
                _, other = await self.delivered(alice)
                with self.assertRaisesRegex(BusyError, "no longer watched"):
                    await within(waiting)
                other.cancel()


class Keys(unittest.IsolatedAsyncioTestCase):
    """What is written; that the gateway takes a key once is tried under load, above."""

    async def test_an_unanswered_send_is_written_again_with_its_key(self) -> None:
        def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            if request["op"] != "send":
                return []
            if len([asked for asked in gateway.requests if asked["op"] == "send"]) == 1:
                return [HANG_UP]
            receipt = {"ev": "receipt", "cursor": 1, "id": "0x0001/1", "outcome": "delivered", "where": "0x0001"}
            return [{"ev": "accepted", "id": "0x0001/1", "durable": True}, receipt]

        async with ScriptedGateway(answers) as gateway:
            async with MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
                receipt = await within(alice.send_message(Message("TASK", receiver="bob", content="once")))
                self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
            first, second = [asked for asked in gateway.requests if asked["op"] == "send"]
        self.assertEqual(first, second)
        self.assertEqual(first["key"], first["ref"])

    async def test_an_older_gateway_is_told_to_be_older(self) -> None:
        told = {"send": "unknown field `key`, expected one of `ref`, `to`", "health": "unknown variant `health`, expected one of"}

        def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            message = f"cannot read the line: {told[request['op']]}" if request["op"] in told else None
            return [{"ev": "error", "code": "bad_request", "message": message, "fatal": False}] if message else []

        async with ScriptedGateway(answers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
            with self.assertRaisesRegex(UnsupportedError, "does not know 'key': it is older than this client, update it"):
                await within(alice.send_message(Message("TASK", receiver="bob")))
            with self.assertRaisesRegex(UnsupportedError, "does not know 'health'"):
                await within(alice.agent.ask("health"))


if __name__ == "__main__":
    unittest.main()
