"""The page is held to the truth: its programs run as they stand there, on fresh gateways, wherever it says that they do.

Only ports are others. What the programs print is what the page says they print.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import unittest
from typing import Dict, List, Tuple

from network import Network, block
from support import within
from mesh_gateway import MeshNetworkManager, Message, Outcome


async def run(program: str, environment: Dict[str, str]) -> Tuple[List[str], str]:
    """What a program prints and logs; it must end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    told, logged = await within(process.communicate())
    assert process.returncode == 0, logged.decode()
    return told.decode().splitlines(), logged.decode()


class Programs(unittest.IsolatedAsyncioTestCase):
    def start(self, heading: str) -> Network:
        """The gateways of a section."""
        network = Network()
        self.addCleanup(network.close)
        network.run(block(heading, "sh"))
        return network

    async def first(self, network: Network) -> None:
        """Runs the first program."""
        told, _ = await run(block("Five minutes", "python"), network.environment)
        self.assertEqual(told, ["delivered", "{'rate': 0.1}", "are you there?"])

    async def second(self, network: Network, worker: str, peered: bool = True) -> List[str]:
        """Runs the second program, whose worker is at this node; the healthy peers that it prints."""
        program = block("Two gateways", "python")
        if not peered:
            lines = program.splitlines(keepends=True)
            self.assertEqual(sum("peer(" in line for line in lines), 3)
            program = "".join(line for line in lines if "peer(" not in line)
        told, logged = await run(network.here(program), network.environment)
        self.assertEqual(told[:3], ["delivered", "{'learning_rate': 0.001}", "{'load': 0.25}"])
        healthy: List[str] = ast.literal_eval(told[3])
        self.assertIn(worker, healthy)
        self.assertIn(f"'destination': '0x0005', 'next_hop': '{worker}', 'cost': 2, 'origin': 'operator'", told[4])
        active, rate, latency = told[5].split()
        self.assertGreaterEqual(int(active), int(peered))
        self.assertEqual(rate, "1.0")
        self.assertGreater(float(latency), 0)
        self.assertEqual("INFO:mesh_gateway.manager:peer worker_001 at 127.0.0.1:" in logged, peered)
        return healthy

    async def test_the_first_on_a_gateway_in_a_simulated_air(self) -> None:
        network = Network()
        self.addCleanup(network.close)
        lines = [line.partition("#")[0].strip() for line in block("Five minutes", "sh").splitlines()]
        (gateway,) = [line for line in lines if line.startswith("mesh-gateway ")]
        # The page means the usual port and the usual folder, which may be somebody's here.
        network.run(f"{gateway} --data-dir own --listen 127.0.0.1:8000 &\nexport MESH_GATEWAY=127.0.0.1:8000")
        await self.first(network)

    async def test_the_second_on_two_gateways_without_radios(self) -> None:
        self.assertEqual(await self.second(self.start("Two gateways"), "0x0002"), ["0x0002"])

    async def test_the_first_on_a_gateway_in_one_of_two_simulated_airs(self) -> None:
        await self.first(self.start("On simulated airs"))

    async def test_the_second_on_two_gateways_in_simulated_airs_of_their_own(self) -> None:
        await self.second(self.start("On simulated airs"), "0x0401")

    async def test_the_first_at_one_end_of_a_mesh_of_fifty_nodes(self) -> None:
        await self.first(self.start("With a mesh between them"))

    async def test_the_second_on_two_gateways_that_have_fifty_nodes_between_them_and_are_peers_too(self) -> None:
        await self.second(self.start("With a mesh between them"), "0x0034")

    async def test_the_second_without_peers_goes_through_fifty_nodes(self) -> None:
        network = self.start("With a mesh between them")
        await self.second(network, "0x0034", peered=False)
        # Each node hears 20 m far, and the ends are over 120 m apart.
        async with MeshNetworkManager("agent_002", gateway=network.address(0)) as mesh:
            receipt = await within(mesh.send_message(Message("TASK", receiver="worker_001")))
            self.assertEqual((await within(receipt.outcome()), receipt.where), (Outcome.DELIVERED, "0x0034"))
            self.assertGreaterEqual(receipt.hops or 0, 6)


if __name__ == "__main__":
    unittest.main()
