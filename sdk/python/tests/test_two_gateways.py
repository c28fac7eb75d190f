"""Two gateways of one network that are peers over IP, started as the page says.

Owns what becomes of messages between them, also when either of them is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import unittest
import unittest.mock
from collections import Counter

from network import Network, block
from support import PATIENCE, within
from mesh_gateway import (
    ConnectionPool, MeshNetworkManager, MeshRouter, Message, MessageType, NetworkHealthMonitor, NoAnswerError, Outcome, Priority,
    UndeliveredError,
)  # fmt: skip


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
        self.assertEqual(await within(monitor.fetch_healthy_peers(threshold=0.8)), [worker.node])
        router.update_route("0x0009", "worker_001", cost=2)
        await within(router.flush())
        (route,) = [route for route in await within(router.fetch_routing_table()) if route["origin"] == "operator"]
        self.assertEqual((route["destination"], route["next_hop"], route["cost"]), ("0x0009", worker.node, 2))
        receipt = await within(agent.send_message(Message("TASK", receiver="worker_001")))
        self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
        told = json.loads(json.dumps(await within(agent.fetch_network_statistics())))
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
            self.network.kill(self.network.gateways[1])
            await within(tells("is away"))
            self.assertEqual(told.records[-1].levelname, "WARNING")
            with self.assertRaisesRegex(NoAnswerError, "is not up within 0 s .*; the gateway keeps trying"):
                await within(agent.wait_for_peer("worker_001", timeout=0))
            # The program goes on: what is accepted now is delivered later, and questions fail in time.
            kept = [await within(agent.send_message(Message("TASK", receiver="worker_001", content=n))) for n in range(5)]
            with self.assertRaises((NoAnswerError, UndeliveredError)):
                await within(agent.query("worker_001", "are you there?", timeout=0.2))
            self.network.start(self.network.gateways[1])
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
        total, got = 120, []
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
        for which, reached in ((0, 20), (1, 50), (0, 80)):
            await within(until(reached))
            self.network.kill(self.network.gateways[which])
            self.network.start(self.network.gateways[which])
        receipts = await within(asyncio.gather(*sends))
        self.assertEqual(Counter(await within(asyncio.gather(*receipts))), {Outcome.DELIVERED: total})
        await within(agent.send_message(Message("TASK", receiver="worker_001", content="last", priority="LOW")))
        await within(receiving)
        self.assertEqual(Counter(got), Counter(range(total)))


if __name__ == "__main__":
    unittest.main()
