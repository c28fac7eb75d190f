"""What programs are built of: pools, gateways of one's own, commands, examples, logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Dict, List, Optional
from unittest import mock

from support import PATIENCE, SOURCE, GatewayCase, within
from mesh_gateway import (
    ConnectionPool, GatewayStartError, MeshNetworkManager, Message, MessageType, NotStartedError, Outcome, SimulatedGateway,
    SyncMesh, create_mesh_enabled_protocol,
)  # fmt: skip
from mesh_gateway.simulated import find_gateway


class Pools(GatewayCase):
    async def test_a_pool_is_bounded_and_its_sessions_are_used_again(self) -> None:
        await self.manager("bob")
        async with ConnectionPool(max_connections=3, gateway=self.gateway.endpoint, name="pool") as pool:
            borrowed = [await within(pool.acquire()) for _ in range(3)]
            self.assertEqual([agent.name for agent in borrowed], ["pool-0", "pool-1", "pool-2"])
            fourth = asyncio.create_task(pool.acquire())
            await asyncio.sleep(0)
            self.assertFalse(fourth.done())
            pool.release(borrowed[1])
            self.assertIs(await within(fourth), borrowed[1])
            with self.assertRaisesRegex(ValueError, "not borrowed"):
                pool.release((await self.manager("other")).agent)
            for agent in borrowed:
                pool.release(agent)
            self.assertEqual(pool.stats(), {"max_connections": 3, "open": 3, "lent": 0, "free": 3, "connected": 3})

            async def one(n: int) -> Outcome:
                async with pool.connection() as agent:
                    return await (await agent.send(Message("TASK", receiver="bob", content=n))).outcome()

            outcomes = await within(asyncio.gather(*(one(n) for n in range(50))))
            self.assertEqual(set(outcomes), {Outcome.DELIVERED})
            self.gateway.kill()
            await self.gateway.start()
            self.assertEqual(await within(one(50)), Outcome.DELIVERED)
            self.assertEqual(pool.stats()["open"], 3)
        with self.assertRaisesRegex(NotStartedError, "pool is closed"):
            await pool.acquire()

    async def test_a_pool_whose_name_was_made_up_leaves_no_agent_behind(self) -> None:
        other = await self.manager("other")
        async with ConnectionPool(max_connections=2, gateway=self.gateway.endpoint) as pool:
            async with pool.connection() as one, pool.connection() as two:
                here = {agent["name"] for agent in await within(other.get_agents())}
                self.assertLessEqual({one.name, two.name}, here)
        left = {agent["name"] for agent in await within(other.get_agents())}
        self.assertEqual(here - left, {one.name, two.name})

    async def test_a_session_that_is_over_is_replaced(self) -> None:
        async with ConnectionPool(max_connections=1, gateway=self.gateway.endpoint, name="pool") as pool:
            async with pool.connection() as agent:
                # Another takes its name for good.
                thief = await self.manager("pool-0")
                while agent.failure is None:
                    await asyncio.sleep(0.01)
                await within(thief.stop())
            async with pool.connection() as fresh:
                self.assertIsNot(fresh, agent)
                await within(fresh.ask("ping"))


class Unnamed(GatewayCase):
    async def test_a_session_without_a_name_asks_and_sends_and_comes_back_as_another(self) -> None:
        bob, nobody = await self.manager("bob"), await self.manager(None)
        bob.subscribe("QUERY", lambda message: bob.reply(message, message.content + 1))
        self.assertEqual(await within(nobody.query("bob", 1)), 2)
        receipt = await within(nobody.send_message(Message("TASK", receiver="bob", content="by whom?")))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        first = nobody.agent_id
        self.assertEqual((await bob.receive_message(PATIENCE)).sender, first)
        self.gateway.kill()
        await self.gateway.start()
        while nobody.agent.sessions < 2 or bob.agent.sessions < 2:
            await asyncio.sleep(0.01)
        self.assertEqual(await within(nobody.query("bob", 2)), 3)
        self.assertNotEqual(nobody.agent_id, first)


class Starting(unittest.IsolatedAsyncioTestCase):
    async def test_a_manager_starts_its_own_gateway_and_leaves_nothing_behind(self) -> None:
        mesh = MeshNetworkManager("agent_001", port=8000, simulate=True)
        async with mesh:
            assert mesh.simulated is not None
            pid, folder = mesh.simulated.pid, Path(mesh.gateway[len("unix:") :]).parent
            self.assertEqual(await within(mesh.query("echo", "hello")), "hello")
        self.assertFalse(folder.exists())
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

    async def test_a_gateway_of_ones_own_is_not_that_of_the_environment(self) -> None:
        environment = {"MESH_GATEWAY": "nonsense", "MESH_GATEWAY_FINGERPRINT": "nonsense", "MESH_GATEWAY_TOKEN_FILE": "/nowhere/token"}
        with mock.patch.dict(os.environ, environment):
            async with MeshNetworkManager("agent_001", simulate=True) as mesh:
                self.assertEqual(await within(mesh.query("echo", "hello")), "hello")

    async def test_a_gateway_does_not_outlive_a_program_that_is_killed(self) -> None:
        own = "from mesh_gateway import SimulatedGateway; print(SimulatedGateway().start_blocking().endpoint, flush=True); input()"
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with subprocess.Popen(
            [sys.executable, "-c", own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as program:  # fmt: skip
            assert program.stdout is not None
            endpoint = program.stdout.readline().decode().strip()
            self.addCleanup(shutil.rmtree, Path(endpoint[len("unix:") :]).parent, ignore_errors=True)
            async with MeshNetworkManager("alice", gateway=endpoint) as alice:
                self.assertTrue(alice.connected)
                program.kill()
                while alice.connected:
                    await asyncio.sleep(0.01)

    async def test_a_data_folder_that_is_given_is_kept(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with MeshNetworkManager("alice", simulate=True, data_dir=folder) as alice:
                receipt = await within(alice.send_message(Message("TASK", receiver="alice", content="kept")))
                await within(receipt.outcome())
            async with MeshNetworkManager("alice", simulate=True, data_dir=folder) as alice:
                self.assertEqual((await alice.receive_message(PATIENCE)).content, "kept")

    async def test_a_gateway_that_cannot_start_says_why(self) -> None:
        with self.assertRaisesRegex(GatewayStartError, r"(?s)cannot start a gateway: it ended with 2.*sim\.nodes"):
            await within(SimulatedGateway(nodes=0).start())
        with mock.patch.dict(os.environ, {"MESH_GATEWAY_BIN": "/nowhere/mesh-gateway"}):
            with self.assertRaisesRegex(GatewayStartError, "cargo build"):
                find_gateway()

    async def test_a_drop_in_protocol_answers_under_its_usual_names(self) -> None:
        protocol = create_mesh_enabled_protocol("node_001", simulate=True)
        protocol.register_handler(MessageType.QUERY, lambda message: protocol.reply(message, "pong"))
        await protocol.start()
        try:
            self.assertEqual(await within(protocol.query("node_001", "ping")), "pong")
            self.assertEqual(protocol.get_statistics()["agent_id"], "node_001")
        finally:
            await protocol.stop()


def run(*arguments: str, gateway: Optional[str] = None, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    environment: Dict[str, str] = {**os.environ, "PYTHONPATH": str(SOURCE)}
    if gateway is not None:
        environment["MESH_GATEWAY"] = gateway
    return subprocess.run(
        [sys.executable, "-m", "mesh_gateway", *arguments], input=given, env=environment, capture_output=True, timeout=PATIENCE
    )


class Commands(unittest.TestCase):
    gateway: SimulatedGateway

    @classmethod
    def setUpClass(cls) -> None:
        cls.gateway = SimulatedGateway(nodes=10).start_blocking()
        cls.addClassCleanup(cls.gateway.stop_blocking)

    def mesh(self, *arguments: str, given: bytes = b"", code: int = 0) -> str:
        done = run(*arguments, gateway=self.gateway.endpoint, given=given)
        self.assertEqual(done.returncode, code, done)
        return (done.stdout if code == 0 else done.stderr).decode()

    def test_what_one_command_sends_another_prints(self) -> None:
        with SyncMesh("bob", gateway=self.gateway.endpoint):
            pass
        self.assertRegex(self.mesh("send", "--to", "bob", "the pump is on"), r"\A0x0001/\d+\n\Z")
        self.assertRegex(self.mesh("send", "--to", "bob", "--wait", "--priority", "high", "42"), r"0x0001/\d+ delivered at 0x0001 after 0 hops")
        self.mesh("send", "--to", "bob", "-", given=b"\x00\xff")
        lines = [json.loads(line) for line in self.mesh("listen", "--as", "bob", "--count", "3", "--json").splitlines()]
        self.assertEqual([line.get("content", line.get("data")) for line in lines], ["the pump is on", 42, "AP8="])
        self.assertEqual([line["priority"] for line in lines], ["MEDIUM", "HIGH", "MEDIUM"])

    def test_a_question_and_the_state_of_the_network(self) -> None:
        for more in ([], ["--durable"]):
            self.assertEqual(self.mesh("query", "--to", "echo", *more, "are you there?"), "are you there?\n")
        self.assertIn("gateway at 0x0001: ok", self.mesh("status"))
        self.assertEqual(json.loads(self.mesh("status", "--json"))["gateway_health"], "ok")

    def test_commands_without_a_name_leave_no_agent_behind(self) -> None:
        with SyncMesh(None, gateway=self.gateway.endpoint) as nobody:
            before = {agent["name"] for agent in nobody.get_agents()}
            self.mesh("status")
            self.mesh("query", "--to", "echo", "one")
            self.mesh("send", "--to", "echo", "--wait", "two")
            self.assertEqual({agent["name"] for agent in nobody.get_agents()} - before - {"echo"}, set())
            self.assertEqual([name for name in before if name.startswith(("py-", "anon-"))], [])
            self.assertTrue(nobody.agent_id.startswith("anon-"))

    def test_exit_codes_tell_wrong_usage_from_what_did_not_work(self) -> None:
        self.assertIn("`mesh-gateway agents` lists", self.mesh("send", "--to", "nobody@0x0001", "x", code=1))
        for arguments, code, word, hint in [
            (["query", "--to", "nobody@0x0001", "x"], 1, "unknown_receiver", "`mesh-gateway agents` lists"),
            (["query", "--to", "echo", "--timeout", "1ms", "x"], 1, "no_answer", "give it more time"),
            (["status", "--gateway", "unix:/nowhere/mesh.sock"], 1, "no_gateway", "see whether the gateway runs"),
            (["status", "--gateway", "127.0.0.1:9", "--token-file", "/nowhere/token"], 1, "token", "correct the path"),
            (["status", "--gateway", "nonsense"], 2, "usage", "write HOST:PORT"),
            (["send", "x"], 2, "usage", "--help says"),
        ]:  # fmt: skip
            error = json.loads(self.mesh(*arguments, "--json", code=code))["error"]
            self.assertEqual(error["code"], word, error)
            self.assertNotIn("; ", error["message"])
            self.assertIn(hint, error["hint"] or "", error)
        self.assertIn("--to", self.mesh("send", "x", code=2))
        self.assertIn("write a number and ms, s, m or h", self.mesh("query", "--to", "echo", "--timeout", "soon", "x", code=2))
        self.assertIn("write HOST:PORT", self.mesh("status", "--gateway", "nonsense", code=2))
        for arguments in (["send", "--deadline", "25h"], ["query", "--timeout", "24.1h"]):
            self.assertIn("at most 24h", self.mesh(arguments[0], "--to", "echo", *arguments[1:], "x", code=2))
        self.assertIn("ASCII letters", self.mesh("listen", "--as", "no name", code=2))
        for command in ("send", "listen", "query", "status"):
            told = self.mesh(command, "--help")
            self.assertIn("Examples:", told)
            self.assertIn("Exit codes: 0 done; 1 it did not work", told)


class Examples(unittest.TestCase):
    def example(self, name: str) -> str:
        path = Path(__file__).resolve().parents[1] / "examples" / f"{name}.py"
        environment = {key: value for key, value in os.environ.items() if key != "MESH_GATEWAY"}
        done = subprocess.run([sys.executable, str(path)], capture_output=True, timeout=PATIENCE, env=environment)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout.decode()

    def test_the_trainer_brings_two_workers_to_the_same_weights(self) -> None:
        self.assertIn("both workers have the same weights: True", self.example("trainer"))

    def test_the_tasks_of_a_killed_worker_are_done_by_another(self) -> None:
        told = self.example("task_queue")
        self.assertIn("worker_002 is killed", told)
        self.assertIn("all 24 tasks are done, and right: True", told)

    def test_the_chat_is_heard(self) -> None:
        self.assertIn("[bob hears] alice (whispers): look behind you", self.example("chat"))


class Logs(GatewayCase):
    async def test_each_level_tells_its_own_with_fields(self) -> None:
        with self.assertLogs("mesh_gateway", "DEBUG") as told:
            alice = await self.manager("alice")
            receipt = await within(alice.send_message(Message("TASK", receiver="alice")))
            await within(receipt.outcome())
            lost = await within(alice.send_message(Message("TASK", receiver="nobody@0x0fff", deadline_ms=50)))
            await within(lost.outcome())
            await self.manager("alice")
            while alice.agent.failure is None:
                await asyncio.sleep(0.01)
        seen: Dict[int, List[logging.LogRecord]] = {}
        for record in told.records:
            seen.setdefault(record.levelno, []).append(record)
        self.assertIn("connected to gateway", seen[logging.INFO][0].getMessage())
        self.assertEqual(seen[logging.INFO][0].__dict__["agent"], "alice")
        route = next(record for record in seen[logging.DEBUG] if record.name == "mesh_gateway.routing")
        self.assertEqual((route.__dict__["message_id"], route.__dict__["outcome"]), (receipt.id, "delivered"))
        failed = next(record for record in seen[logging.WARNING] if record.name == "mesh_gateway.routing")
        self.assertEqual(failed.__dict__["receiver"], "nobody@0x0fff")
        self.assertEqual(seen[logging.ERROR][0].__dict__["code"], "name_taken")


if __name__ == "__main__":
    unittest.main()
