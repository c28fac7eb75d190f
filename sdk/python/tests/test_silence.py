"""Gateways that fall silent, addresses that lead nowhere, answers of others: nothing waits for ever, nobody is taken for another."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, List, Tuple
from unittest import mock

from scripted import FarEnd, ScriptedGateway
from support import PATIENCE, within
from test_network import answers
from mesh_gateway import (
    Agent, BusyError, ConnectionPool, Endpoint, GatewayAwayError, GatewayStartError, MeshError, MeshNetworkManager, Message, NoAnswerError,
    Outcome,
)  # fmt: skip
from mesh_gateway.away import why_away
from mesh_gateway.endpoint import find_endpoint, find_token
from mesh_gateway.message import may_answer

WELCOME = {"ev": "welcome", "gateway": "far", "node": "0x0001", "session": 1, "resumed_from": 0, "credits": 256, "max_body": 65536}
#: A moment, where one has to pass: far longer than a turn of the event loop, and nobody's time.
MOMENT = 0.01


class Silence(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.far = FarEnd()
        await self.far.open()
        self.addAsyncCleanup(self.hang_up)

    async def hang_up(self) -> None:
        self.far.close()
        await asyncio.sleep(0)

    async def connected(self, **options: Any) -> MeshNetworkManager:
        mesh = MeshNetworkManager("alice", gateway=self.far.address, live=False, **options)
        starting = asyncio.create_task(mesh.start())
        await self.far.answer()
        await self.far.hear()
        self.far.say({**WELCOME, "name": "alice"})
        await within(starting)
        self.addAsyncCleanup(mesh.stop)
        self.addCleanup(lambda: self.far.writer.close())
        return mesh

    async def test_a_connection_that_says_nothing_is_asked_and_then_given_up(self) -> None:
        with self.assertLogs("mesh_gateway.agent", "WARNING") as told:
            mesh = await self.connected(heartbeat=MOMENT)
            self.assertEqual((await self.far.hear())["op"], "ping")
            self.addCleanup(self.far.writer.close)
            # The other end is gone without a word: a new connection comes by itself.
            await self.far.answer()
        self.assertIn("nothing came from it for 0.02 s, though it was asked whether it is there", told.output[0])
        self.assertEqual((await self.far.hear())["op"], "hello")
        self.far.say({**WELCOME, "name": "alice"})
        while not mesh.connected:
            await asyncio.sleep(0)
        self.assertEqual(mesh.agent.sessions, 2)
        self.far.writer.close()

    async def test_a_gateway_that_answers_pings_is_kept(self) -> None:
        mesh = await self.connected(heartbeat=MOMENT)
        for _ in range(5):
            asked = await self.far.hear()
            self.assertEqual(asked["op"], "ping")
            self.far.say({"ev": "pong", "ref": asked["ref"]})
        self.assertEqual((mesh.connected, mesh.agent.sessions), (True, 1))
        self.far.writer.close()

    async def test_a_send_to_a_gateway_that_fell_silent_ends_and_its_message_is_kept(self) -> None:
        mesh = await self.connected()
        with self.assertRaisesRegex(NoAnswerError, "no accepted for the message to bob within 0.0[0-9]* s; it is kept") as caught:
            await within(mesh.send_message(Message("TASK", receiver="bob"), timeout=MOMENT))
        receipt = caught.exception.receipt
        assert receipt is not None
        asked = await self.far.hear()
        self.far.say({"ev": "accepted", "ref": asked["ref"], "id": "0x0001/1", "durable": True})
        self.far.say({"ev": "receipt", "cursor": 1, "ref": asked["ref"], "id": "0x0001/1", "outcome": "delivered"})
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        self.far.writer.close()

    async def test_nothing_waits_for_room_or_groups_for_ever(self) -> None:
        mesh = await self.connected()
        with mock.patch("mesh_gateway.sends.MOST_UNACCEPTED", 1):
            await within(mesh.submit(Message("TASK", receiver="bob")))
            with self.assertRaisesRegex(BusyError, "no room within 0.01 s"):
                await within(mesh.submit(Message("TASK", receiver="bob"), timeout=MOMENT))
            with self.assertRaisesRegex(GatewayAwayError, "did not answer 'subscribe' within 0.01 s"):
                await within(mesh.agent.subscribe_groups(["kitchen"], timeout=MOMENT))
            self.far.writer.close()
            while mesh.connected:
                await asyncio.sleep(0)
            with self.assertRaisesRegex(GatewayAwayError, "the gateway being away"):
                await within(mesh.submit(Message("TASK", receiver="bob"), timeout=MOMENT))

    async def test_a_wait_for_a_peer_ends_in_its_time_though_the_gateway_says_nothing(self) -> None:
        mesh = await self.connected()
        with mock.patch("mesh_gateway.watch.LEAST", MOMENT):
            for timeout in (0, MOMENT):
                waiting = mesh.wait_for_peer("barn", timeout=timeout)
                with self.assertRaisesRegex(NoAnswerError, f"not known within {timeout:g} s whether the peer barn is up: .* not answer 'peers'"):
                    await within(waiting)
        self.far.writer.close()

    async def test_the_answer_to_a_late_group_is_not_taken_for_the_next(self) -> None:
        mesh = await self.connected()
        with self.assertRaises(GatewayAwayError):
            await within(mesh.agent.subscribe_groups(["late"], timeout=MOMENT))
        joining = asyncio.create_task(mesh.join_group("kitchen"))
        late, asked = await self.far.hear(), await self.far.hear()
        self.far.say({"ev": "subscribed", "ref": late["ref"], "groups": ["late"]})
        self.far.say({"ev": "subscribed", "ref": asked["ref"], "groups": ["kitchen", "late"]})
        self.assertEqual(await within(joining), ["kitchen", "late"])
        self.far.writer.close()

    async def test_a_receipt_is_waited_for_no_longer_than_its_deadline_and_a_little(self) -> None:
        mesh = await self.connected()
        receipt = await within(mesh.submit(Message("TASK", receiver="bob", deadline_ms=10)))
        with mock.patch("mesh_gateway.receipt.GRACE", MOMENT), self.assertRaises(NoAnswerError):
            await within(receipt.outcome())
        self.far.writer.close()

    async def test_a_pool_that_is_out_says_so_in_time(self) -> None:
        async with ScriptedGateway(lambda request: []) as gateway, ConnectionPool(1, gateway=gateway.endpoint) as pool:
            async with pool.connection():
                with self.assertRaisesRegex(NoAnswerError, "all 1 sessions of the pool are out"):
                    await within(pool.acquire(timeout=MOMENT))

    async def test_a_pool_parts_with_all_its_sessions_at_once_and_is_empty_then(self) -> None:
        async with ScriptedGateway(lambda request: []) as gateway:
            pool = ConnectionPool(3, gateway=gateway.endpoint)
            lent = [await within(pool.acquire()) for _ in range(3)]
            pool.release(lent[0])
            asked: List[Agent] = []
            together = asyncio.Event()

            async def forget(agent: Agent) -> None:
                # Nobody is answered before all have asked.
                asked.append(agent)
                if len(asked) == 3:
                    together.set()
                await together.wait()
                raise RuntimeError("nobody answers")

            with mock.patch.object(pool, "_forget", forget), self.assertRaisesRegex(RuntimeError, "nobody answers"):
                await within(pool.close())
            self.assertEqual(pool.stats(), {"max_connections": 3, "open": 0, "lent": 0, "free": 0, "connected": 0})
            self.assertEqual([agent.connected for agent in lent], [False] * 3)
            pool.release(lent[1])
            self.assertEqual(pool.stats()["free"], 0)

    async def test_the_connection_and_the_welcome_share_one_span_of_time(self) -> None:
        waited: List[float] = []
        wait = asyncio.wait

        async def noted(*arguments: Any, **options: Any) -> Any:
            waited.append(options.get("timeout") or 0.0)
            return await wait(*arguments, **options)

        with mock.patch("mesh_gateway.agent.WELCOME_WITHIN", 0.05), mock.patch("mesh_gateway.agent.asyncio.wait", noted):
            mesh = MeshNetworkManager("alice", gateway=self.far.address, connect_timeout=0.2)
            with self.assertRaisesRegex(GatewayAwayError, "takes the connection and says no welcome within 0.05 s; is it a gateway?"):
                await within(mesh.start())
        self.assertTrue(all(span < 0.05 for span in waited if span != 0.2), waited)
        self.far.close()
        await within(self.far.server.wait_closed())


class Addresses(unittest.IsolatedAsyncioTestCase):
    async def test_the_second_address_of_a_name_is_tried_while_the_first_says_nothing(self) -> None:
        # A door with no room: whoever comes is left without a word, as by a firewall.
        hole = socket.socket()
        self.addCleanup(hole.close)
        hole.bind(("127.0.0.2", 0))
        hole.listen(0)
        crowd = []
        for _ in range(8):
            one = socket.socket()
            self.addCleanup(one.close)
            one.setblocking(False)
            crowd.append(one.connect_ex(hole.getsockname()))
        far = FarEnd()
        await far.open()
        self.addCleanup(far.close)
        good = far.server.sockets[0].getsockname()
        loop = asyncio.get_running_loop()

        async def both(*_: Any, **__: Any) -> List[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (hole.getsockname(), good)]

        with mock.patch.object(loop, "getaddrinfo", both), mock.patch("mesh_gateway.wire.NEXT_ADDRESS_AFTER", MOMENT):
            mesh = MeshNetworkManager("alice", gateway="two.example:7700", live=False)
            starting = asyncio.create_task(mesh.start())
            await far.answer()
            await far.hear()
            far.say({**WELCOME, "name": "alice"})
            await within(starting)
            far.writer.close()
            await within(mesh.stop())

    async def test_a_link_local_address_keeps_its_interface(self) -> None:
        told = find_endpoint("[fe80::1%eth0]:7700")
        self.assertEqual((told.host, told.port, str(told)), ("fe80::1%eth0", 7700, "[fe80::1%eth0]:7700"))
        asked: List[Tuple[Any, ...]] = []

        async def nobody(*arguments: Any, **_: Any) -> List[Any]:
            asked.append(arguments)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with mock.patch.object(asyncio.get_running_loop(), "getaddrinfo", nobody):
            mesh = MeshNetworkManager("alice", gateway="[fe80::1%eth0]:7700", connect_timeout=MOMENT)
            with self.assertRaises(GatewayAwayError):
                await within(mesh.start())
        self.assertEqual(asked[0][:2], ("fe80::1%eth0", 7700))

    async def test_a_peer_is_told_with_its_interface_too(self) -> None:
        async with ScriptedGateway(answers) as gateway:
            async with MeshNetworkManager("alice", gateway=gateway.endpoint, live=False) as mesh:
                for address in ("fe80::1%eth0", "[fe80::1%eth0]"):
                    await within(mesh.add_peer("barn", address, 7700))
        added = [asked["address"] for asked in gateway.requests if asked["op"] == "link_add"]
        self.assertEqual(added, ["[fe80::1%eth0]:7700"] * 2)


class Answers(unittest.IsolatedAsyncioTestCase):
    def test_who_may_answer(self) -> None:
        for asked, source, may in [
            ("bob", "bob@0x0003", True), ("bob", "mallory@0x0003", False), ("bob", "bobby@0x0003", False),
            ("bob@0x0003", "bob@0x0003", True), ("bob@0x0003", "bob@0x0004", False), ("bob@0x00ab", "bob@0x00AB", True),
            ("node:0x0003", "echo@0x0003", True), ("node:0x0003", "node:0x0003", False), ("node:0x0003", "bob@0x0004", False),
            ("node:0x0003", "0x0003", True), ("group:kitchen", "anyone@0x0009", True), ("everyone", "anyone@0x0009", True),
        ]:  # fmt: skip
            self.assertEqual(may_answer(asked, source), may, (asked, source))

    async def test_an_answer_of_somebody_else_is_no_answer_and_the_right_one_still_counts(self) -> None:
        def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            if request["op"] != "send":
                return []
            message = {"ev": "message", "to": "alice@0x0001", "type": "RESPONSE", "priority": "LOW", "reply_to": "0x0001/1", "hops": 1,
                       "at_us": 1, "ref": 0}  # fmt: skip
            return [
                {"ev": "accepted", "id": "0x0001/1", "durable": False},
                {**message, "cursor": 1, "id": "0x0007/1", "from": "mallory@0x0007", "text": "forged"},
                {**message, "cursor": 2, "id": "0x0007/2", "from": "mallory@0x0007", "text": "forged again"},
                {**message, "cursor": 3, "id": "0x0003/9", "from": "bob@0x0003", "text": "true"},
            ]

        with self.assertLogs("mesh_gateway.routing", "WARNING") as told:
            async with ScriptedGateway(answers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint, live=False) as alice:
                self.assertEqual(await within(alice.query("bob", "what?")), True)
                self.assertEqual((await alice.receive_message(PATIENCE)).content, "forged")
        said = [line for line in told.output if "was not asked" in line]
        self.assertEqual(len(said), 1, "said once for each question")
        self.assertIn("mallory@0x0007 answers 0x0001/1 to bob", said[0])

    async def test_questions_and_their_answers_are_not_durable_unless_asked_for(self) -> None:
        kinds = {"asks": "QUERY", "tells": "TASK"}

        def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            if request["op"] != "send":
                return []
            return [{"ev": "accepted", "id": f"0x0001/{len(gateway.requests)}", "durable": request.get("durable", True)}]

        async with ScriptedGateway(answers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint, live=False) as alice:
            for receiver, kind in kinds.items():
                heard = Message(kind, receiver="alice")
                heard.id, heard.source = "0x0002/1", receiver
                for durable in (None, True, False):
                    await within(alice.reply(heard, "yes", durable=durable))
            asking = [alice.query("bob", 1, timeout=MOMENT), alice.query("bob", 1, timeout=MOMENT, durable=True)]
            await within(asyncio.gather(*asking, return_exceptions=True))
        told = [asked.get("durable", True) for asked in gateway.requests if asked["op"] == "send"]
        self.assertEqual(told, [False, True, False, True, True, False, False, True])


class Causes(unittest.IsolatedAsyncioTestCase):
    def test_each_cause_is_said_with_what_to_do_and_none_offers_a_simulator(self) -> None:
        tcp, unix = Endpoint("barn.local", 7700, ""), Endpoint("", 0, "/run/mesh.sock")
        for endpoint, why, said in [
            (tcp, OSError(errno.ECONNREFUSED, "Connect call failed"), "refused, nobody listens there; see whether it runs"),
            (tcp, OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"), "nobody listens there"),
            (tcp, socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name barn.local is not known here"),
            (tcp, OSError(errno.ETIMEDOUT, "x"), "does not answer in time; its machine may be off"),
            (tcp, asyncio.TimeoutError(), "does not answer in time; its machine may be off"),
            (tcp, OSError(errno.EHOSTUNREACH, "x"), "there is no way to it (No route to host)"),
            (tcp, OSError(errno.EPERM, "x"), "see its firewall"),
            (unix, OSError(errno.ENOENT, "x"), "there is no such socket; see whether the gateway runs"),
            (unix, OSError(errno.EACCES, "x"), "this user may not open the socket; run this as the gateway's user"),
            (unix, OSError(errno.ECONNREFUSED, "x"), "nobody listens at that socket"),
            (tcp, OSError("it closed the connection"), "it closed the connection"),
        ]:  # fmt: skip
            told = why_away(endpoint, why)
            self.assertIn(said, told)
            self.assertNotIn("sim", told)

    async def test_a_gateway_that_is_down_and_a_name_that_is_unknown_are_told_apart(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for door, said in ((f"127.0.0.1:{port}", "the connection is refused"), ("no-such-host.invalid:7700", "the name no-such-host.invalid is")):
            with self.assertRaisesRegex(GatewayAwayError, said):
                await within(MeshNetworkManager("alice", gateway=door, connect_timeout=1.0).start())

    def test_a_token_file_that_is_of_no_use_is_named_with_why(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "phone.token"
            with self.assertRaisesRegex(MeshError, f"from {path}: there is no such file; correct the path"):
                find_token(None, path)
            with mock.patch.dict("os.environ", {"MESH_GATEWAY_TOKEN_FILE": str(path), "MESH_GATEWAY_TOKEN": ""}):
                with self.assertRaisesRegex(MeshError, f"{path} that MESH_GATEWAY_TOKEN_FILE names: there is no such file"):
                    find_token()
            with self.assertRaisesRegex(MeshError, "it is a folder"):
                find_token(None, folder)
            for raw, said in [
                (b"", "it is empty"), (b"\xef\xbb\xbf", "it is empty"), (b"\xff\xfet\0o\0k\0", "begins with the mark of UTF-16"),
                (b"\xff\xff\x00", "it is not text"), (b"one\ntwo\n", "more than one line"),
            ]:  # fmt: skip
                path.write_bytes(raw)
                with self.assertRaisesRegex(MeshError, said):
                    find_token(None, path)
            path.write_bytes(b"\xef\xbb\xbfopen sesame\r\n")
            self.assertEqual(find_token(None, path), "open sesame")

    async def test_a_manager_that_finds_no_program_leaves_no_folder(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.dict(os.environ, {"MESH_GATEWAY_BIN": "/nowhere/mesh-gateway"}), mock.patch("tempfile.tempdir", folder):
                mesh = MeshNetworkManager("alice", simulate=True)
                self.assertEqual(os.listdir(folder), [], "and none before it is started")
                with self.assertRaises(GatewayStartError):
                    await within(mesh.start())
                given = MeshNetworkManager("alice", simulate=True, data_dir=Path(folder) / "kept")
                with self.assertRaises(GatewayStartError):
                    await within(given.start())
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
