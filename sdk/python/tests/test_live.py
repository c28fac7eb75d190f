"""The calls that do not wait: figures as they were within the last second, and routes that are confirmed in the background."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import unittest
from typing import Any, Dict, List
from unittest import mock

from network import Network
from scripted import ScriptedGateway
from support import GatewayCase, within
from test_network import ANSWERS, answers
from mesh_gateway import (
    BadRequestError, ConnectionPool, MeshNetworkManager, MeshRouter, NetworkHealthMonitor, NotStartedError, UnknownReceiverError,
    create_mesh_enabled_protocol,
)  # fmt: skip
from mesh_gateway.snapshot import Snapshot

#: A program against the classes of an asyncio mesh, as people have it: nothing of it awaits a figure or a route.
PASTED = """
import asyncio
from mesh_gateway import (
    ConnectionPool, MeshNetworkManager, MeshRouter, Message, MessageType, NetworkHealthMonitor, Priority,
    create_mesh_enabled_protocol,
)

async def main():
    mesh = MeshNetworkManager("agent_001", port=8000)
    await mesh.start()
    await mesh.add_peer("worker_001", "127.0.0.1", 8001)

    protocol = create_mesh_enabled_protocol("worker_001", port=8000)
    await protocol.start()

    message = Message(
        type=MessageType.PARAMETER_UPDATE,
        sender="agent_001",
        receiver="worker_001",
        content={"learning_rate": 0.001},
        priority=Priority.HIGH,
    )
    await mesh.send_message(message)
    print("received", (await protocol.receive_message()).content)
    await mesh.query("echo", "are you there?")
    while "QUERY" not in mesh.get_network_statistics()["messages"]["by_type"]:
        await asyncio.sleep(0.01)

    stats = mesh.get_network_statistics()
    print(f"active peers: {stats['active_peers']}")
    print(f"network health: {stats['network_health']}")
    print(f"messages: {stats['messages']['by_type']}, as of {stats['as_of_ms']}")

    peers = mesh.get_healthy_peers()
    print(f"healthy peers: {peers}")

    health_monitor = NetworkHealthMonitor()
    print(f"healthy by the monitor: {health_monitor.get_healthy_peers(threshold=0.8)}")
    for peer, health in health_monitor.peer_health.items():
        print(f"  {peer}: {health}")

    router = MeshRouter()
    router.update_route("destination", "next_hop", cost=2)
    router.update_route("0x0009", "echo", cost=2)
    print(f"at once: {router.routing_table}")
    while [route for route in router.routing_table if "not confirmed" in route.get("pending", "")]:
        await asyncio.sleep(0.01)
    print(f"later: {router.routing_table}")

    pool = ConnectionPool(max_connections=100)
    async with pool.connection() as connection:
        await connection.send(message_of(connection))

    print(f"the protocol: {protocol.get_statistics()['agent_id']}")
    await pool.close()
    await protocol.stop()
    await mesh.stop()

def message_of(connection):
    return Message(type=MessageType.TASK, sender=connection.name, receiver="worker_001", content={"step": 1})

asyncio.run(main())
"""


class Pasted(unittest.TestCase):
    def test_a_program_that_awaits_no_figures_and_no_routes_runs_as_it_was_pasted(self) -> None:
        network = Network()
        self.addCleanup(network.close)
        network.run("mesh-gateway --adapter sim --data-dir west --listen 127.0.0.1:8000 &")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", network.here(PASTED)], env=network.environment, capture_output=True, timeout=60, text=True
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line and not line.startswith("  "))
        self.assertGreater(int(told["active peers"]), 0)
        self.assertIn("'success_rate': 1.0", told["network health"])
        self.assertIn("{'PARAMETER_UPDATE': 1, 'QUERY': 1}, as of 1", told["messages"])
        for look in ("healthy peers", "healthy by the monitor"):
            self.assertIn("0x", told[look])
        for moment in ("at once", "later"):
            self.assertIn("{'destination': 'destination', 'next_hop': 'next_hop', 'cost': 2, 'origin': 'operator', 'pending': ", told[moment])
        self.assertIn("'the gateway knows no agent, no peer and no gateway", told["later"].replace('"', "'"))
        self.assertIn("'pending': 'the gateway has not confirmed it yet'", told["at once"])
        self.assertIn("{'destination': '0x0009', 'next_hop': '0x001b', 'cost': 2, 'origin': 'operator', 'age_ms': 0}", told["later"])
        self.assertEqual(told["the protocol"], "worker_001")


class Figures(GatewayCase):
    nodes = 10

    async def test_figures_follow_without_being_awaited(self) -> None:
        alice = await self.manager("alice")
        first = alice.get_network_statistics()
        self.assertEqual((first["gateway"], first["node"], first["connected"]), ("gateway", alice.node, True))
        await within(alice.query("echo", 1))
        while alice.get_network_statistics()["messages"]["by_type"] != {"QUERY": 1}:
            await asyncio.sleep(0.01)
        told = alice.get_network_statistics()
        self.assertGreater(told["as_of_ms"], first["as_of_ms"])
        self.assertEqual(json.loads(json.dumps(told)), told)
        told["peers"].clear()
        self.assertTrue(alice.get_network_statistics()["peers"], "what a program does with its copy is its own")

    async def test_an_idle_gateway_that_is_looked_at_writes_nothing(self) -> None:
        alice = await self.manager("alice", live=False)

        async def commits() -> int:
            return int((await alice.agent.ask("status"))["store"]["commits"])

        async def undisturbed() -> None:
            # The gateway writes for itself now and then; if looking made it write, no round would be without.
            before, after = -1, await commits()
            while before != after:
                before = after
                for _ in range(20):
                    await alice.agent.snapshot.refresh()
                after = await commits()

        await within(undisturbed())

    async def test_everything_finds_the_manager_that_the_program_runs(self) -> None:
        plain = {"MESH_GATEWAY": "", "MESH_GATEWAY_TOKEN": ""}
        with mock.patch.dict("os.environ", plain):
            alice = await self.manager("alice")
            monitor, router, pool = NetworkHealthMonitor(), MeshRouter(), ConnectionPool(max_connections=2)
            self.assertIs(monitor._agent(), alice.agent)
            self.assertIs(router._agent(), alice.agent)
            async with pool, pool.connection() as agent:
                self.assertEqual(str(agent.endpoint), alice.gateway)
            await within(alice.stop())
            with self.assertRaisesRegex(NotStartedError, "stopped"):
                alice.agent.check()
            self.assertIsNot(monitor._agent(), alice.agent)
            await monitor.close()


class Shape(unittest.IsolatedAsyncioTestCase):
    async def test_before_the_first_answer_all_is_there_and_empty(self) -> None:
        mesh = MeshNetworkManager("alice", gateway="unix:/nowhere/agents.sock")
        async with ScriptedGateway(answers) as gateway, MeshNetworkManager("bob", gateway=gateway.endpoint, live=False) as bob:
            empty, full = mesh.get_network_statistics(), await within(bob.fetch_network_statistics())
        self.assertEqual(set(empty), set(full))
        self.assertLessEqual(set(empty["network_health"]), set(full["network_health"]) | {"p50_latency_ms", "p99_latency_ms"})
        self.assertEqual((empty["as_of_ms"], empty["active_peers"], empty["routing_table"]), (None, 0, []))
        self.assertEqual(empty["network_health"]["success_rate"], None)
        self.assertEqual(mesh.get_healthy_peers(), [])
        monitor = NetworkHealthMonitor(mesh)
        self.assertEqual((monitor.get_healthy_peers(), monitor.peer_health, MeshRouter(mesh).routing_table), ([], {}, []))
        with self.assertRaisesRegex(ValueError, "a share from 0 to 1"):
            mesh.get_healthy_peers(threshold=80)

    async def test_what_cannot_be_asked_is_a_warning_once_and_harms_nobody(self) -> None:
        def older(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            unknown = {"ev": "error", "code": "bad_request", "message": "cannot read the line: unknown variant `health`"}
            return [unknown] if request["op"] == "health" else answers(request)

        with self.assertLogs("mesh_gateway.peers", "WARNING") as told:
            async with ScriptedGateway(older) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint) as alice:
                for _ in range(3):
                    await within(alice.agent.snapshot.first())
                stats = alice.get_network_statistics()
        self.assertEqual((len(told.output), stats["as_of_ms"]), (1, None))
        self.assertIn("older than this client", told.output[0])
        self.assertEqual(stats["routing_table"], ANSWERS["routes"][0]["routes"])

    def test_without_an_event_loop_it_is_said_what_to_use(self) -> None:
        with mock.patch.dict("os.environ", {"MESH_GATEWAY": ""}), self.assertRaisesRegex(NotStartedError, "SyncMesh"):
            NetworkHealthMonitor().get_healthy_peers()


class Routes(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.names: List[Dict[str, Any]] = []
        self.refusal: List[Dict[str, Any]] = []

        def told(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            if request["op"] == "agents":
                return [{"ev": "agents", "agents": self.names}]
            if request["op"].startswith("route_") and self.refusal:
                return self.refusal
            return answers(request)

        self.gateway = await ScriptedGateway(told).__aenter__()
        self.addAsyncCleanup(self.gateway.__aexit__)
        self.mesh = MeshNetworkManager("agent_001", gateway=self.gateway.endpoint, live=False)
        await within(self.mesh.start())
        self.addAsyncCleanup(self.mesh.stop)
        self.router = MeshRouter(self.mesh)
        again = mock.patch("mesh_gateway.routes.AGAIN", 0.001)
        again.start()
        self.addCleanup(again.stop)

    def changes(self) -> List[Dict[str, Any]]:
        return [
            {key: value for key, value in asked.items() if key != "ref"}
            for asked in self.gateway.requests if asked["op"].startswith("route_")
        ]  # fmt: skip

    async def test_an_unknown_name_is_kept_until_it_is_known(self) -> None:
        with self.assertLogs("mesh_gateway.routing", "WARNING") as told:
            self.router.update_route("destination", "next_hop", cost=2)
            with self.assertRaisesRegex(UnknownReceiverError, "knows no agent, no peer and no gateway 'destination' yet.*it is kept"):
                await within(self.router.flush(timeout=0.02))
        self.assertEqual(len(told.output), 1, "it is tried again and again, and said once")
        self.assertIn("'destination' yet", self.router.routing_table[0]["pending"])
        self.names = [{"name": "destination", "node": "0x0005"}]
        with self.assertRaisesRegex(UnknownReceiverError, "'next_hop'"):
            await within(self.router.flush(timeout=0.02))
        self.assertEqual(self.changes(), [])
        self.names += [{"name": "next_hop", "node": "0x0003"}]
        await within(self.router.flush())
        wanted = {"destination": "0x0005", "next_hop": "0x0003", "cost": 2}
        self.assertEqual(self.changes(), [{"op": "route_add", **wanted}])
        self.assertEqual(self.router.routing_table, [{**wanted, "origin": "operator", "age_ms": 0}])

    async def test_names_of_peers_and_of_the_gateway_stand_for_their_nodes(self) -> None:
        self.router.update_route("worker_001", "scripted", cost=1)
        self.router.update_route("node:0x00AB", "bob@0x0003")
        await within(self.router.flush())
        self.assertEqual(
            [(asked["destination"], asked["next_hop"]) for asked in self.changes()], [("0x0005", "0x0001"), ("0x00ab", "0x0003")]
        )

    async def test_a_refusal_is_in_the_log_and_told_by_flush(self) -> None:
        self.refusal = [{"ev": "error", "code": "bad_request", "message": "no route may lead by itself", "fatal": False}]
        with self.assertLogs("mesh_gateway.routing", "ERROR") as told:
            self.router.update_route("0x0005", "0x0005")
            with self.assertRaisesRegex(BadRequestError, "no route may lead by itself"):
                await within(self.router.flush())
        self.assertEqual(len(told.output), 1)
        self.assertEqual(self.router.routing_table, [])
        await within(self.router.flush())

    async def test_the_last_change_of_a_destination_counts_and_one_taken_back_in_time_is_none(self) -> None:
        for hop in ("0x0002", "0x0003"):
            self.router.update_route("0x0009", hop)
        self.router.update_route("nobody", "0x0003")
        self.router.remove_route("nobody")
        await within(self.router.flush())
        self.assertEqual([asked["next_hop"] for asked in self.changes()], ["0x0003"])
        self.router.remove_route("nobody")
        with self.assertLogs("mesh_gateway.routing", "ERROR"), self.assertRaisesRegex(UnknownReceiverError, "'nobody'"):
            await within(self.router.flush())

    async def test_a_change_that_was_made_just_before_the_end_is_made(self) -> None:
        self.router.update_route("0x0009", "0x0003")
        await within(self.mesh.stop())
        self.assertEqual([asked["op"] for asked in self.changes()], ["route_add"])
        with self.assertRaisesRegex(NotStartedError, "was stopped"):
            self.router.update_route("0x0009", "0x0003")

    async def test_changes_made_while_there_is_no_gateway_are_made_when_there_is_one(self) -> None:
        later = ScriptedGateway(answers)
        router = MeshRouter(gateway=later.endpoint)
        self.addAsyncCleanup(router.close)
        router.update_route("0x0009", "0x0003", cost=2)
        self.assertEqual(len(router.routing_table), 1)
        async with later:
            await within(router.flush())
            await router.close()
        self.assertIn("route_add", [asked["op"] for asked in later.requests])


class Arguments(unittest.TestCase):
    def test_everything_with_a_session_takes_the_same_connection_arguments(self) -> None:
        wanted = ["port", "gateway", "token", "token_file", "fingerprint", "connect_timeout", "heartbeat"]
        makers = (MeshNetworkManager, create_mesh_enabled_protocol, ConnectionPool, MeshRouter, NetworkHealthMonitor)
        for make in makers:
            told = inspect.signature(make).parameters
            self.assertEqual([name for name in told if name in wanted], wanted, make)
            self.assertEqual([told[name].default for name in wanted], [None] * 5 + [10.0, 30.0], make)

    def test_what_is_told_goes_before_the_environment(self) -> None:
        environment = {"MESH_GATEWAY": "192.0.2.1:1", "MESH_GATEWAY_TOKEN": "other", "MESH_GATEWAY_FINGERPRINT": "ab" * 32}
        with mock.patch.dict("os.environ", environment):
            mesh = MeshNetworkManager("alice", port=8000, token="told", fingerprint="cd" * 32)
            told = mesh.agent.access
            self.assertEqual(told, ConnectionPool(port=8000, token="told", fingerprint="cd" * 32)._where.access)
            self.assertEqual(told, MeshRouter(port=8000, token="told", fingerprint="cd" * 32)._where.access)
            self.assertEqual((told.endpoint.host, told.endpoint.port, told.token), ("127.0.0.1", 8000, "told"))
            self.assertEqual(told.endpoint.fingerprint, "cd" * 32)
            # An empty variable of a shell is no way to go without.
            for wrong in ({"fingerprint": ""}, {"gateway": ""}):
                with self.assertRaises(ValueError):
                    MeshNetworkManager("alice", **wrong)  # type: ignore[arg-type]


class Refresh(unittest.IsolatedAsyncioTestCase):
    async def test_the_gateway_is_asked_once_for_each_moment(self) -> None:
        asked: List[str] = []

        class Gateway:
            name, failure, connected = "alice", None, True

            async def ask(self, op: str) -> Dict[str, Any]:
                asked.append(op)
                return ANSWERS[op][0]

        snapshot = Snapshot(Gateway())  # type: ignore[arg-type]
        snapshot.keep(every=0.001)
        while asked.count("status") < 3:
            await asyncio.sleep(0)
        await snapshot.stop()
        self.assertEqual(asked[:8], ["health", "peers", "routes", "status"] * 2)
        self.assertIsNotNone(snapshot.as_of_ms)


if __name__ == "__main__":
    unittest.main()
