"""How the network is, in one dictionary that JSON can hold.

Owns its form. The figures are the gateway's (``health``, ``peers``, ``routes``, ``status``): of all its agents, also of what
they send each other, which counts for the gateway's own address. When they were asked for is :mod:`mesh_gateway.snapshot`'s.
"""

from __future__ import annotations

import copy
from typing import Any, Dict, List

from .agent import Agent

#: The share of messages that must arrive for a peer to be healthy, as the gateway has it.
THRESHOLD = 0.8


def _healthy(peer: Dict[str, Any], threshold: float) -> bool:
    """Whether a peer is at or over a threshold of one's own. One that nothing was sent to is judged by its link."""
    measured = peer.get("success_rate")
    if measured is not None:
        return float(measured) >= threshold
    # The gateway calls such a one healthy while it is heard.
    link = (float(peer.get(share, 1.0)) for share in ("delivery_in", "delivery_out"))
    return bool(peer["healthy"]) and min(link) >= threshold


def peer_health(agent: Agent) -> Dict[str, Dict[str, Any]]:
    """What is known of each node by its address, without the gateway's own."""
    peers = agent.snapshot.answers["health"]["peers"]
    return {str(peer["node"]): copy.deepcopy(peer) for peer in peers if peer["node"] != agent.node}


def healthy_peers(agent: Agent, threshold: float) -> List[str]:
    """The addresses of nodes where at least ``threshold`` (0 to 1) of what was sent arrives."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"a threshold is a share from 0 to 1, not {threshold}")
    return [node for node, peer in peer_health(agent).items() if _healthy(peer, threshold)]


def routing_table(agent: Agent) -> List[Dict[str, Any]]:
    """The gateway's routes."""
    return copy.deepcopy(list(agent.snapshot.answers["routes"]["routes"]))


def network_statistics(agent: Agent) -> Dict[str, Any]:
    """The whole of it, as the snapshot has it. A figure that nothing was measured for is ``None``."""
    answers = agent.snapshot.answers
    health, peers, status = answers["health"], answers["peers"], answers["status"]
    links = peers["links"]
    # A gateway over IP is near as well, once something came from it.
    active = {peer["node"] for peer in peers["peers"]} | {link["node"] for link in links if link["state"] == "up"}
    unmeasured = dict.fromkeys(("success_rate", "average_latency_ms", "p50_latency_ms", "p99_latency_ms"))
    return copy.deepcopy({
        "as_of_ms": agent.snapshot.as_of_ms,
        "connected": agent.connected,
        "agent_id": agent.name,
        "gateway": status.get("gateway", agent.welcome.get("gateway", "")),
        "node": status.get("node", agent.node),
        "active_peers": len(active),
        "network_health": {
            **unmeasured,
            **health["overall"],
            "healthy_peers": len(healthy_peers(agent, THRESHOLD)),
        },
        "messages": {
            **{key: health[key] for key in ("by_type", "by_priority", "by_outcome")},
            "received_by_type": dict(agent.received_by_type),
            "in_flight": len(agent.sends.table),
        },
        "peers": health["peers"],
        "links": links,
        "routing_table": answers["routes"]["routes"],
        "airtime": health["airtime"],
        "radio": status["radio"],
        "store": status["store"],
        "gateway_health": status["health"],
        "uptime_ms": status["uptime_ms"],
    })  # fmt: skip
