"""What became of a message step by step, whether a node answers, and over which nodes it is reached.

Owns the form of the questions and of what is returned; what is known is the gateway's. See docs/agents.md.
"""

from __future__ import annotations

from typing import Any, Dict, Union

from .questions import ANSWER_WITHIN, Asker
from .receipt import Receipt

#: How long an answer of a node is waited for, in seconds; the gateway's own default.
NODE_ANSWERS_WITHIN = 3.0


async def why(agent: Asker, message: Union[Receipt, str]) -> Dict[str, Any]:
    """The ``steps`` of a message of this gateway's, and how many are ``left_out``."""
    name = message.id if isinstance(message, Receipt) else message
    if not name:
        raise ValueError("cannot ask why: the gateway has not accepted the message yet; await its `accepted()` first")
    return _bare(await agent.ask("why", id=name))


async def ping_node(agent: Asker, node: str, timeout: float) -> Dict[str, Any]:
    """Whether a node answers: ``node``, and if it does ``round_trip_us`` and ``hops``."""
    return _bare(await _ask_node(agent, "ping_node", node, timeout))


async def trace_node(agent: Asker, node: str, timeout: float) -> Dict[str, Any]:
    """The ``hops`` to a ``node``, and whether it was ``reached``."""
    return _bare(await _ask_node(agent, "trace_node", node, timeout))


async def _ask_node(agent: Asker, op: str, node: str, timeout: float) -> Dict[str, Any]:
    return await agent.ask(op, timeout + ANSWER_WITHIN, node=node, timeout_ms=round(timeout * 1000))


def _bare(event: Dict[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("ev", "ref")}
