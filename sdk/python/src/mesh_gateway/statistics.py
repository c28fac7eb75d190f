"""How the network is, in one dictionary that JSON can hold.

Owns its form. The figures are the gateway's (``health``, ``peers``, ``routes``, ``status``); ``source`` says where those
of messages are from: ``gateway``, or ``receipts`` while the gateway has no ``health``: those that this client has seen.
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List, Optional, Tuple

from .agent import Agent
from .errors import UnsupportedError
from .tally import plain

#: The share of messages that must arrive for a peer to be healthy, as the gateway has it.
THRESHOLD = 0.8


async def gateway_health(agent: Agent) -> Optional[Dict[str, Any]]:
    """The gateway's ``health``, or nothing if it has none yet."""
    try:
        event = await agent.ask("health")
    except UnsupportedError:
        return None
    return {key: value for key, value in event.items() if key not in ("ev", "ref")}


def healthy(peer: Dict[str, Any], threshold: float) -> bool:
    """Whether a peer of ``health`` is at or over a threshold of one's own; unmeasured ones are judged by their link."""
    measured = peer.get("success_rate")
    if measured is None:
        heard = [share for share in (peer.get("delivery_in"), peer.get("delivery_out")) if share is not None]
        measured = min(heard) if heard else None
    # Heard of, and nothing bad known.
    return measured is None or float(measured) >= threshold


async def peer_health(agent: Agent) -> Tuple[str, List[Dict[str, Any]]]:
    """What is known of each near node, and whether it comes from ``health`` or from ``peers``."""
    health = await gateway_health(agent)
    if health is not None:
        return "gateway", list(health["peers"])
    return "receipts", list((await agent.ask("peers"))["peers"])


async def network_statistics(agent: Agent) -> Dict[str, Any]:
    """The whole of it."""
    health, peers, routes, status = await asyncio.gather(
        gateway_health(agent), agent.ask("peers"), agent.ask("routes"), agent.ask("status")
    )
    tally = agent.tally
    if health is not None:
        source, overall, nodes = "gateway", dict(health["overall"]), list(health["peers"])
        counts = {key: dict(health[key]) for key in ("by_type", "by_priority", "by_outcome")}
    else:
        source, overall, nodes = "receipts", dict(tally.overall()), list(peers["peers"])
        counts = {
            "by_type": plain(tally.by_type),
            "by_priority": plain(tally.by_priority),
            "by_outcome": plain(tally.by_outcome),
        }
    links = peers.get("links", [])
    near = [peer["node"] for peer in peers["peers"]]
    figures: Dict[str, Any] = {"success_rate": None, "average_latency_ms": None, **overall}
    figures["healthy_peers"] = sum(healthy(peer, THRESHOLD) for peer in nodes)
    return {
        "agent_id": agent.name,
        "gateway": status["gateway"],
        "node": status["node"],
        "source": source,
        "active_peers": len(near) + sum(link["state"] == "up" for link in links),
        "network_health": figures,
        "messages": {
            **counts,
            "received_by_type": plain(tally.received_by_type),
            "in_flight": len(agent.sends.table),
        },
        "peers": nodes,
        "links": links,
        "routing_table": routes["routes"],
        "airtime": (health or {}).get("airtime"),
        "radio": status.get("radio"),
        "store": status.get("store"),
        "gateway_health": status.get("health"),
        "uptime_ms": status.get("uptime_ms"),
    }
