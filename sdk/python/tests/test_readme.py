"""The page is held to the truth: its two quick starts are run as they stand there, with other addresses.

Owns gateways of one network, connected over IP, and what becomes of messages when either of them is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from collections import Counter
from pathlib import Path
from typing import Dict, List

from support import PATIENCE, SOURCE, GatewayCase, within
from mesh_gateway import (
    ConnectionPool, MeshNetworkManager, MeshRouter, Message, MessageType, NetworkHealthMonitor, NoAnswerError, Outcome, Priority,
    UndeliveredError,
)  # fmt: skip
from mesh_gateway.simulated import find_gateway

README = Path(__file__).resolve().parents[1] / "README.md"


def block(heading: str, language: str) -> str:
    """The first fenced block of a language under a heading."""
    section = re.split(r"(?m)^## ", README.read_text(encoding="utf-8"))
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    found = re.search(rf"(?ms)^```{language}\n(.*?)^```", text)
    assert found is not None, f"no block of {language} under {heading!r}"
    return found[1]


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Network:
    """Gateways made by the lines of the page, on ports of their own, in a folder of their own."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ports = {"8000": str(free_port()), "8001": str(free_port())}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MESH_GATEWAY")}
        self.environment["PYTHONPATH"] = str(SOURCE)
        (Path(self.folder.name) / "mesh-gateway").symlink_to(find_gateway().resolve())
        self.environment["PATH"] = os.pathsep.join([self.folder.name, os.environ.get("PATH", "")])
        self.commands: List[List[str]] = []
        self.running: Dict[int, "subprocess.Popen[bytes]"] = {}

    def here(self, text: str) -> str:
        """The text with the ports of this network."""
        return re.sub(r"\b800[01]\b", lambda port: self.ports[port[0]], text)

    def run(self, script: str) -> None:
        """Runs what the page tells people to type."""
        for line in self.here(script).splitlines():
            if line.endswith("&"):
                self.commands.append(shlex.split(line[:-1]))
                self.start(len(self.commands) - 1)
            elif line.startswith("export "):
                name, _, value = line[len("export ") :].partition("=")
                self.environment[name] = value
            else:
                done = subprocess.run(
                    line, shell=True, cwd=self.folder.name, env=self.environment, capture_output=True, timeout=PATIENCE
                )
                assert done.returncode == 0, (line, done)

    def start(self, which: int) -> None:
        """Starts a gateway, and waits until it listens."""
        program = Path(self.folder.name) / self.commands[which][0]
        process = subprocess.Popen(
            [str(program), *self.commands[which][1:]], cwd=self.folder.name, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.running[which] = process
        assert process.stdout is not None
        while b"agents connect to " not in (line := process.stdout.readline()):
            assert line, f"gateway {which} ended"

    def kill(self, which: int) -> None:
        """Ends a gateway as a power cut would."""
        with self.running.pop(which) as process:
            process.kill()

    def address(self, which: int) -> str:
        """Where a gateway listens."""
        return f"127.0.0.1:{self.ports[f'800{which}']}"

    def close(self) -> None:
        """Ends all."""
        for which in list(self.running):
            self.kill(which)
        self.folder.cleanup()


class FiveMinutes(GatewayCase):
    nodes = 10

    async def test_the_first_program_of_the_page_prints_what_it_says(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "MESH_GATEWAY": self.gateway.endpoint}
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", block("Five minutes", "python"), stdout=subprocess.PIPE, env=environment
        )
        told, _ = await within(program.communicate())
        self.assertEqual(program.returncode, 0)
        self.assertEqual(told.decode().splitlines(), ["delivered", "{'rate': 0.1}", "are you there?"])


class TwoGateways(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.network = Network()
        self.addCleanup(self.network.close)
        self.network.run(block("Two gateways", "sh"))

    async def manager(self, name: str, which: int) -> MeshNetworkManager:
        mesh = MeshNetworkManager(name, gateway=self.network.address(which))
        await within(mesh.start())
        self.addAsyncCleanup(mesh.stop)
        return mesh

    async def peered(self) -> "tuple[MeshNetworkManager, MeshNetworkManager]":
        agent, worker = await self.manager("agent_001", 0), await self.manager("worker_001", 1)
        await within(agent.add_peer("worker_001", "127.0.0.1", int(self.network.ports["8001"])))
        self.assertEqual(await within(agent.wait_for_peer("worker_001")), worker.node)
        return agent, worker

    async def test_the_program_of_the_page_prints_what_it_says(self) -> None:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", self.network.here(block("Two gateways", "python")), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.network.environment,
        )  # fmt: skip
        told, logged = await within(program.communicate())
        self.assertEqual(program.returncode, 0, logged.decode())
        lines = told.decode().splitlines()
        self.assertEqual(lines[:4], ["delivered", "{'learning_rate': 0.001}", "{'load': 0.25}", "['0x0002']"])
        self.assertIn("'destination': '0x0005', 'next_hop': '0x0002', 'cost': 2, 'origin': 'operator'", lines[4])
        active, rate, latency = lines[5].split()
        self.assertEqual((active, rate), ("1", "1.0"))
        self.assertGreater(float(latency), 0)
        self.assertIn("INFO:mesh_gateway.manager:peer worker_001 at 127.0.0.1:", logged.decode())

    async def test_a_message_of_every_type_and_priority_crosses(self) -> None:
        agent, worker = await self.peered()
        wanted = [(kind, urgency) for kind in MessageType for urgency in Priority]
        sends = [
            agent.submit(Message(kind, "agent_001", "worker_001", content={"n": n}, priority=urgency))
            for n, (kind, urgency) in enumerate(wanted)
        ]
        receipts = await within(asyncio.gather(*sends))
        self.assertEqual(set(await within(asyncio.gather(*receipts))), {Outcome.DELIVERED})
        got = [await worker.receive_message(PATIENCE) for _ in wanted]
        self.assertEqual({message.content["n"]: (message.type, message.priority) for message in got}, dict(enumerate(wanted)))
        self.assertEqual({message.source for message in got}, {"agent_001@0x0001"})

    async def test_what_has_a_session_of_its_own_finds_the_gateway_by_the_environment(self) -> None:
        agent, worker = await self.peered()
        with unittest.mock.patch.dict(os.environ, self.network.environment):
            monitor, router, pool = NetworkHealthMonitor(), MeshRouter(), ConnectionPool(max_connections=100)
        for each in (monitor, router, pool):
            self.addAsyncCleanup(each.close)
        await within((await agent.send_message(Message("TASK", receiver="worker_001"))).outcome())
        self.assertEqual(await within(monitor.get_healthy_peers(threshold=0.8)), [worker.node])
        await within(router.update_route("worker_001", "worker_001", cost=2))
        (route,) = [route for route in await within(router.routing_table()) if route["origin"] == "operator"]
        self.assertEqual((route["destination"], route["next_hop"], route["cost"]), (worker.node, worker.node, 2))
        receipt = await within(agent.send_message(Message("TASK", receiver="worker_001")))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        told = json.loads(json.dumps(await within(agent.get_network_statistics())))
        self.assertEqual((told["active_peers"], told["network_health"]["healthy_peers"]), (1, 1))
        self.assertEqual((told["network_health"]["success_rate"], told["network_health"]["settled"]), (1.0, 2))

    async def test_a_hundred_sessions_of_a_pool_send_to_the_other_gateway(self) -> None:
        _, worker = await self.peered()
        async with ConnectionPool(max_connections=100, gateway=self.network.address(0)) as pool:
            agents = await within(asyncio.gather(*(pool.acquire() for _ in range(100))))
            self.assertEqual(pool.stats()["connected"], 100)
            sends = [agent.send(Message("TASK", receiver="worker_001", content=n)) for n, agent in enumerate(agents)]
            receipts = await within(asyncio.gather(*sends))
            self.assertEqual(set(await within(asyncio.gather(*receipts))), {Outcome.DELIVERED})
        self.assertEqual(sorted([(await worker.receive_message(PATIENCE)).content for _ in range(100)]), list(range(100)))

    async def test_a_killed_peer_is_a_warning_and_gets_its_messages_when_it_is_back(self) -> None:
        with self.assertLogs("mesh_gateway.peers", "INFO") as told:

            async def tells(what: str) -> None:
                while what not in "".join(told.output):
                    await asyncio.sleep(0.01)

            agent, worker = await self.peered()
            await within(tells("is up"))
            self.network.kill(1)
            await within(tells("is away"))
            self.assertEqual(told.records[-1].levelname, "WARNING")
            with self.assertRaisesRegex(NoAnswerError, "is not up within 0 s .*; the gateway keeps trying"):
                await within(agent.wait_for_peer("worker_001", timeout=0))
            # The program goes on: what is accepted now is delivered later, and questions fail in time.
            kept = [await within(agent.send_message(Message("TASK", receiver="worker_001", content=n))) for n in range(5)]
            with self.assertRaises((NoAnswerError, UndeliveredError)):
                await within(agent.query("worker_001", "are you there?", timeout=0.2))
            self.network.start(1)
            await within(agent.wait_for_peer("worker_001"))
        self.assertEqual(set(await within(asyncio.gather(*kept))), {Outcome.DELIVERED})
        got = [await worker.receive_message(PATIENCE) for _ in range(5)]
        self.assertEqual(sorted(message.content for message in got), list(range(5)))
        await within(agent.remove_peer("worker_001"))
        self.assertEqual((await within(agent.get_peers()))["links"], [])
        with self.assertRaisesRegex(NoAnswerError, "use add_peer first"):
            await within(agent.wait_for_peer("worker_001"))

    async def test_either_gateway_is_killed_under_load_and_every_message_arrives_once(self) -> None:
        agent, worker = await self.peered()
        total, got = 400, []
        received = asyncio.Event()

        async def receive() -> None:
            async for message in worker:
                if message.content == "last":
                    return
                got.append(message.content)
                received.set()

        async def until(count: int) -> None:
            while len(got) < count:
                received.clear()
                await received.wait()

        receiving = asyncio.create_task(receive())
        sends = [
            asyncio.create_task(agent.submit(Message("TASK", receiver="worker_001", content=n, deadline_ms=600_000)))
            for n in range(total)
        ]
        for which, reached in ((0, 50), (1, 150), (0, 250)):
            await within(until(reached))
            self.network.kill(which)
            self.network.start(which)
        receipts = await within(asyncio.gather(*sends))
        self.assertEqual(Counter(await within(asyncio.gather(*receipts))), {Outcome.DELIVERED: total})
        await within(agent.send_message(Message("TASK", receiver="worker_001", content="last", priority="LOW")))
        await within(receiving)
        self.assertEqual(Counter(got), Counter(range(total)))


if __name__ == "__main__":
    unittest.main()
