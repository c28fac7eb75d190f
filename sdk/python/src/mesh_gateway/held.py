"""Messages of whom it is not known whether the gateway accepted them, where it does not know keys.

Owns the proof that one was *not* accepted, so that it may be written again and still arrives once:

* For an agent of the same gateway, *accepted* and its receipt are one step on its disk. When the gateway is back and has
  shown all that it kept for us, and there is no receipt, the message was not accepted.
* For any other, the gateway owes a receipt by the deadline. When the deadline has passed since the gateway came back and
  there is no receipt, the message was not accepted, and it is too late to send it: it fails with ``NotAcceptedError``.

With keys nothing is ever held; see :data:`mesh_gateway.sends.SEND_KEYS`.
"""

from __future__ import annotations

import asyncio
from typing import Any, FrozenSet, Mapping, Set

from .errors import NotAcceptedError
from .receipt import Receipt
from .sends import Sends

#: The gateway's ``default_deadline_s``, in milliseconds, for messages that name none.
USUAL_DEADLINE_MS = 60_000
#: How much longer than its deadline a receipt may take, in seconds. A guess, that of ``mesh-gateway send --wait``.
GRACE = 30.0


def local_agents(agents: Mapping[str, Any]) -> FrozenSet[str]:
    """Names, and names with the node, of the agents of the gateway itself."""
    names: Set[str] = set()
    for agent in agents["agents"]:
        if agent.get("local"):
            names.update((agent["name"], f"{agent['name']}@{agent['node']}"))
    return frozenset(names)


def resolve(sends: Sends, local: FrozenSet[str]) -> None:
    """All that the gateway kept for us has been shown: decides what can be decided, and waits for the rest."""
    held, sends.held = sends.held, []
    loop = asyncio.get_running_loop()
    for receipt in held:
        if receipt.message.receiver in local:
            sends.send_again(receipt)
        else:
            deadline = receipt.message.deadline_ms or USUAL_DEADLINE_MS
            loop.call_later(deadline / 1000 + GRACE, _give_up, sends, receipt, sends.session)


def _give_up(sends: Sends, receipt: Receipt, session: int) -> None:
    # A gateway that was lost again has the whole deadline again; that is decided in the session after it.
    if sends.session != session or not sends.connected:
        return
    sends.give_up(
        receipt,
        NotAcceptedError(
            f"the message to {receipt.message.receiver} was not accepted: the gateway was lost while it was handed over, "
            "and its deadline has passed; send it again if it is still worth something"
        ),
    )
