"""How the network is, in one dictionary that JSON can hold.

Owns its form. The figures are the gateway's (``health``, ``peers``, ``routes``, ``status``): of all its agents, also of what
they send each other, which counts for the gateway's own address.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List

from .agent import Agent

#: The share of messages that must arrive for a peer to be healthy, as the gateway has it.
THRESHOLD = 0.8


def healthy(peer: Dict[str, Any], threshold: float) -> bool:
    """Whether a peer is at or over a threshold of one's own. One that nothing was sent to is judged by its link."""
    measured = peer.get("success_rate")
    if measured is not None:
        return float(measured) >= threshold
    # The gateway calls such a one healthy while it is heard.
    link = (float(peer.get(share, 1.0)) for share in ("delivery_in", "delivery_out"))
    return bool(peer["healthy"]) and min(link) >= threshold


def others(health: Dict[str, Any], node: str) -> List[Dict[str, Any]]:
    """The peers of ``health``, without the gateway's own address."""
    return [peer for peer in health["peers"] if peer["node"] != node]


async def network_statistics(agent: Agent) -> Dict[str, Any]:
    """The whole of it. A figure that nothing was measured for is ``None``."""
    health, peers, routes, status = await asyncio.gather(
        agent.ask("health"), agent.ask("peers"), agent.ask("routes"), agent.ask("status")
    )
    links = peers["links"]
    # A gateway over IP is near as well, once something came from it.
    active = {peer["node"] for peer in peers["peers"]} | {link["node"] for link in links if link["state"] == "up"}
    unmeasured = dict.fromkeys(("success_rate", "average_latency_ms", "p50_latency_ms", "p99_latency_ms"))
    return {
        "agent_id": agent.name,
        "gateway": status["gateway"],
        "node": status["node"],
        "active_peers": len(active),
        "network_health": {
            **unmeasured,
            **health["overall"],
            "healthy_peers": sum(healthy(peer, THRESHOLD) for peer in others(health, status["node"])),
        },
        "messages": {
            **{key: health[key] for key in ("by_type", "by_priority", "by_outcome")},
            "received_by_type": dict(agent.received_by_type),
            "in_flight": len(agent.sends.table),
        },
        "peers": health["peers"],
        "links": links,
        "routing_table": routes["routes"],
        "airtime": health["airtime"],
        "radio": status["radio"],
        "store": status["store"],
        "gateway_health": status["health"],
        "uptime_ms": status["uptime_ms"],
    }
