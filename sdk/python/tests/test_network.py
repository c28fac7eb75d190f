"""Peers, routes and health: with real gateways, and what is made of each documented form."""

from __future__ import annotations

import asyncio
import json
import unittest
from typing import Any, Dict, List

from scripted import ScriptedGateway
from support import PATIENCE, GatewayCase, within
from mesh_gateway import (
    BadRequestError, GatewayAwayError, MeshNetworkManager, MeshRouter, Message, NetworkHealthMonitor, UnknownReceiverError,
)  # fmt: skip
from mesh_gateway.watch import PeerWatch

PEERS: List[Dict[str, Any]] = [
    {"node": "0x0001", "settled": 73, "success_rate": 1.0, "average_latency_ms": 0.0, "healthy": True},
    {"node": "0x0002", "settled": 10, "success_rate": 0.9, "average_latency_ms": 90.1, "hops": 1, "healthy": True},
    {"node": "0x0003", "settled": 10, "success_rate": 0.5, "hops": 1, "healthy": False},
    {"node": "0x0004", "settled": 0, "delivery_in": 0.99, "delivery_out": 0.85, "hops": 1, "healthy": True},
    {"node": "0x0005", "settled": 0, "last_heard_ms": 5, "hops": 1, "healthy": True},
    {"node": "0x0006", "settled": 0, "last_heard_ms": 900000, "healthy": False},
]
HEALTH = {
    "ev": "health", "overall": {"settled": 93, "success_rate": 0.98, "average_latency_ms": 120.3}, "peers": PEERS,
    "by_type": {"TASK": 93}, "by_priority": {"HIGH": 93}, "by_outcome": {"delivered": 93},
    "airtime": {"frames_sent": 120, "sent_us": 45000},
}  # fmt: skip
ANSWERS: Dict[str, List[Dict[str, Any]]] = {
    "health": [HEALTH],
    "peers": [{"ev": "peers", "peers": [{"node": peer["node"], "hops": 1} for peer in PEERS if "hops" in peer],
               "links": [{"name": "worker_001", "address": "192.168.1.100:8000", "state": "up", "node": "0x0005", "since_ms": 1}]}],
    "routes": [{"ev": "routes", "routes": [{"destination": "0x0005", "next_hop": "0x0003", "cost": 2, "origin": "operator"}]}],
    "status": [{"ev": "status", "gateway": "scripted", "node": "0x0001", "health": "ok", "uptime_ms": 1, "radio": {}, "store": {}}],
    "agents": [{"ev": "agents", "agents": [{"name": "destination", "node": "0x0005", "local": False, "last_heard_ms": 40}]}],
    "route_add": [{"ev": "done"}], "route_remove": [{"ev": "done"}], "link_add": [{"ev": "done"}],
    "link_remove": [{"ev": "error", "code": "bad_request", "message": "no link is called so", "fatal": False}],
}  # fmt: skip


def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
    return ANSWERS.get(request["op"], [])


class DocumentedForm(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.gateway = await ScriptedGateway(answers).__aenter__()
        self.addAsyncCleanup(self.gateway.__aexit__)
        self.mesh = MeshNetworkManager("agent_001", port=8000, gateway=self.gateway.endpoint, live=False)
        await within(self.mesh.start())
        self.addAsyncCleanup(self.mesh.stop)

    def asked(self) -> Dict[str, Any]:
        return {key: value for key, value in self.gateway.requests[-1].items() if key != "ref"}

    async def test_peers_over_ip_are_links_of_the_gateway(self) -> None:
        await within(self.mesh.add_peer("worker_001", "192.168.1.100", 8000))
        added = {"op": "link_add", "name": "worker_001", "address": "192.168.1.100:8000"}
        self.assertIn(added, [{k: v for k, v in asked.items() if k != "ref"} for asked in self.gateway.requests])
        await within(self.mesh.add_peer("worker_002", "fe80::1", 8000))
        with self.assertRaisesRegex(BadRequestError, "no link is called so"):
            await within(self.mesh.remove_peer("worker_002"))

    async def test_a_peer_that_goes_away_is_a_warning_and_its_return_is_told(self) -> None:
        watch = PeerWatch(self.mesh.agent)
        watch._states["worker_001"] = "connecting"
        link = ANSWERS["peers"][0]["links"][0]
        self.addCleanup(link.update, state="up")
        with self.assertLogs("mesh_gateway.peers", "INFO") as told:
            for state in ("up", "away", "away", "up"):
                link.update(state=state, why="it does not answer")
                await within(watch.look())
        self.assertEqual([record.levelname for record in told.records], ["INFO", "WARNING", "INFO"])
        self.assertEqual([record.__dict__["state"] for record in told.records], ["up", "away", "up"])

    async def test_a_route_is_set_by_address_or_by_the_name_of_an_agent(self) -> None:
        router = MeshRouter(self.mesh)
        for destination in ("0x0005", "destination", "destination@0x0005"):
            router.update_route(destination, "0x0003", cost=2)
            await within(router.flush())
            self.assertEqual(self.asked(), {"op": "route_add", "destination": "0x0005", "next_hop": "0x0003", "cost": 2})
        self.assertEqual(await within(router.fetch_routing_table()), ANSWERS["routes"][0]["routes"])
        router.remove_route("destination")
        await within(router.flush())
        self.assertEqual(self.asked(), {"op": "route_remove", "destination": "0x0005"})

    async def test_statistics_are_the_gateways_and_json_can_hold_them(self) -> None:
        told = json.loads(json.dumps(await within(self.mesh.fetch_network_statistics())))
        self.assertEqual(told["active_peers"], 4, "the link leads to 0x0005, which is near too")
        health = told["network_health"]
        self.assertEqual((health["success_rate"], health["average_latency_ms"], health["healthy_peers"]), (0.98, 120.3, 3))
        self.assertEqual(told["messages"]["by_type"], {"TASK": 93})
        self.assertEqual(told["routing_table"], ANSWERS["routes"][0]["routes"])

    async def test_healthy_is_what_the_caller_says_it_is(self) -> None:
        async with NetworkHealthMonitor(gateway=self.gateway.endpoint) as monitor:
            self.assertEqual(await within(monitor.fetch_healthy_peers(threshold=0.8)), ["0x0002", "0x0004", "0x0005"])
            self.assertEqual(await within(monitor.fetch_healthy_peers(threshold=0.95)), ["0x0005"])
            self.assertEqual((await within(monitor.fetch_peer_health("0x0003")))["success_rate"], 0.5)
            self.assertEqual(await within(monitor.fetch_peer_health("0x0099")), {})
            with self.assertRaisesRegex(ValueError, "a share from 0 to 1"):
                await monitor.fetch_healthy_peers(threshold=80)


class OwnSessions(unittest.IsolatedAsyncioTestCase):
    async def test_a_monitor_that_found_no_gateway_finds_it_later(self) -> None:
        gateway = ScriptedGateway(answers)
        monitor = NetworkHealthMonitor(gateway=gateway.endpoint, connect_timeout=0.05)
        self.addAsyncCleanup(monitor.close)
        with self.assertRaises(GatewayAwayError):
            await within(monitor.fetch_healthy_peers())
        async with gateway:
            monitor._connect_timeout = PATIENCE
            asked = [monitor.fetch_healthy_peers(), monitor.fetch_healthy_peers(0.95)]
            self.assertEqual(await within(asyncio.gather(*asked)), [["0x0002", "0x0004", "0x0005"], ["0x0005"]])
            await monitor.close()
        self.assertEqual([request["op"] for request in gateway.requests].count("hello"), 1)


class Nonsense(unittest.IsolatedAsyncioTestCase):
    async def test_what_is_no_gateway_is_told_so_and_holds_no_memory(self) -> None:
        for said in [b"HTTP/1.1 400 Bad Request\n", b"[1]\n", b'{"no":"ev"}\n', b"x" * (1 << 21), b'{"ev":"welcome"}\n']:
            async with ScriptedGateway(lambda request: [], welcome=said) as nobody:
                mesh = MeshNetworkManager("alice", gateway=nobody.endpoint, connect_timeout=0.3)
                with self.assertRaisesRegex(GatewayAwayError, "is it a gateway"):
                    await within(mesh.start())


class RealGateways(GatewayCase):
    nodes = 10

    async def test_statistics_are_real_and_json_can_hold_them(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        for _ in range(3):
            await within((await alice.send_message(Message("TASK", receiver="bob", priority="LOW"))).outcome())
        await within(alice.query("echo", 1))
        told = json.loads(json.dumps(await within(alice.fetch_network_statistics())))
        self.assertGreater(told["active_peers"], 0)
        self.assertEqual(told["network_health"]["success_rate"], 1.0)
        self.assertGreater(told["network_health"]["average_latency_ms"], 0)
        self.assertEqual(told["network_health"]["settled"], 4, "what stayed on the gateway counts too")
        self.assertGreater(told["network_health"]["healthy_peers"], 0)
        self.assertEqual(told["messages"]["by_type"]["TASK"], 3)
        self.assertEqual(told["messages"]["by_priority"]["LOW"], 3)
        self.assertEqual(told["messages"]["by_outcome"]["delivered"], sum(told["messages"]["by_type"].values()))
        self.assertTrue(all("destination" in route for route in told["routing_table"]))

    async def test_what_was_not_measured_is_none(self) -> None:
        alice = await self.manager("alice")
        told = (await within(alice.fetch_network_statistics()))["network_health"]
        self.assertEqual((told["settled"], told["success_rate"], told["average_latency_ms"]), (0, None, None))

    async def test_healthy_peers_are_near_nodes(self) -> None:
        alice = await self.manager("alice")
        await within(alice.query("echo", 1))
        async with NetworkHealthMonitor(gateway=self.gateway.endpoint) as own:
            for monitor in (NetworkHealthMonitor(alice), own):
                near = await within(monitor.fetch_peer_health())
                self.assertTrue(near)
                self.assertLessEqual(set(await within(monitor.fetch_healthy_peers(threshold=0.0))), set(near))

    async def test_an_operators_route_stands_in_the_live_table(self) -> None:
        alice = await self.manager("alice")
        router = MeshRouter(alice)
        near = (await within(alice.get_peers()))["peers"]
        while not near:
            await asyncio.sleep(0.05)
            near = (await within(alice.get_peers()))["peers"]
        hop = near[0]["node"]
        router.update_route("0x0009", hop, cost=2)
        await within(router.flush())
        (route,) = [route for route in await within(router.fetch_routing_table()) if route.get("origin") == "operator"]
        self.assertEqual((route["destination"], route["next_hop"], route["cost"]), ("0x0009", hop, 2))
        router.remove_route("0x0009")
        await within(router.flush())
        self.assertNotIn("operator", [route.get("origin") for route in await within(router.fetch_routing_table())])

    async def test_a_peer_is_added_and_removed_and_one_that_is_away_harms_nobody(self) -> None:
        alice, bob = await self.manager("alice"), await self.manager("bob")
        # Port 9 of this machine: nobody is there.
        await within(alice.add_peer("worker_001", "127.0.0.1", 9))
        (link,) = (await within(alice.get_peers()))["links"]
        self.assertEqual((link["name"], link["address"]), ("worker_001", "127.0.0.1:9"))
        self.assertIn(link["state"], ("connecting", "away"))
        receipt = await within(alice.send_message(Message("TASK", receiver="bob")))
        self.assertTrue((await within(receipt.outcome())).good)
        await within(alice.remove_peer("worker_001"))
        self.assertEqual((await within(alice.get_peers()))["links"], [])
        with self.assertRaises(BadRequestError):
            await within(alice.remove_peer("worker_001"))


if __name__ == "__main__":
    unittest.main()
