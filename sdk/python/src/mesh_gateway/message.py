"""Messages as programs see them, and the words of the protocol that describe them.

Owns no bytes: how content is written is :mod:`mesh_gateway.content`'s.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Dict, Mapping, Optional, Union

from .content import read_body

__all__ = ["Message", "MessageType", "Outcome", "Priority"]


class _Word(str, Enum):
    """A word of the protocol; equal to its text."""

    def __str__(self) -> str:
        return str(self.value)


class MessageType(_Word):
    """What kind of message it is."""

    TASK = "TASK"
    QUERY = "QUERY"
    RESPONSE = "RESPONSE"
    NOTIFICATION = "NOTIFICATION"
    PARAMETER_UPDATE = "PARAMETER_UPDATE"


class Priority(_Word):
    """How urgent it is; the more urgent goes first at every node."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Outcome(_Word):
    """What became of a message; ``docs/agents.md`` says what each word promises."""

    DELIVERED = "delivered"
    PROCESSED = "processed"
    SENT = "sent"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"

    @property
    def good(self) -> bool:
        """Whether it is what the sender hoped for."""
        return self in (Outcome.DELIVERED, Outcome.PROCESSED, Outcome.SENT)


_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}\Z")


def check_name(name: str) -> str:
    """The name of an agent. Raises :class:`ValueError` if none can be called so."""
    if not _NAME.match(name) or name == "everyone":
        raise ValueError(f"no agent can be called {name!r}: use 1 to 32 ASCII letters, digits, '.', '_' or '-'")
    return name


def may_answer(asked: str, source: str) -> bool:
    """Whether ``source``, as in ``bob@0x0003``, is who was asked. Of a group and of everyone, each may answer."""
    if asked == "everyone" or asked.startswith("group:"):
        return True
    name, _, node = source.partition("@")
    if asked.startswith("node:"):
        return _same_node(node or name, asked[len("node:") :])
    wanted, at, where = asked.partition("@")
    return name == wanted and (not at or _same_node(node, where))


def _same_node(one: str, other: str) -> bool:
    try:
        return int(one, 16) == int(other, 16)
    except ValueError:
        return False


TYPES: Dict[str, MessageType] = {str(word): word for word in MessageType}
PRIORITIES: Dict[str, Priority] = {str(word): word for word in Priority}


def message_type(word: Union[MessageType, str]) -> MessageType:
    """The type of that name, in any case."""
    found = TYPES.get(str(word).upper())
    if found is None:
        raise ValueError(f"no message type is called {word!r}: use one of {', '.join(TYPES)}")
    return found


def urgency(word: Union[Priority, str]) -> Priority:
    """The priority of that name, in any case."""
    found = PRIORITIES.get(str(word).upper())
    if found is None:
        raise ValueError(f"no priority is called {word!r}: use one of {', '.join(PRIORITIES)}")
    return found


class Message:
    """A message to be sent, or one that was received.

    To send one, say ``type``, ``receiver`` and ``content``; ``sender`` may be left out, and is otherwise the agent that
    sends. In a received one ``sender`` is the bare name, and ``source`` the name with its node, as in
    ``worker_001@0x0002``: the place to reply to.

    ``content`` is any JSON value, ``str`` or ``bytes``. ``deadline_ms`` counts from when the gateway accepts the message;
    ``None`` is the gateway's default. ``processed=True`` asks for a second receipt, for when the receiving agent has
    acknowledged it. The fields from ``id`` on are the gateway's.
    """

    __slots__ = (
        "type", "sender", "receiver", "content", "priority", "reply_to", "deadline_ms", "durable", "processed",
        "id", "source", "cursor", "life", "hops", "at_us", "text",
    )  # fmt: skip

    def __init__(
        self,
        type: Union[MessageType, str],
        sender: str = "",
        receiver: str = "",
        content: Any = None,
        priority: Union[Priority, str] = Priority.MEDIUM,
        *,
        reply_to: Optional[str] = None,
        deadline_ms: Optional[int] = None,
        durable: bool = True,
        processed: bool = False,
    ) -> None:
        self.type = type if isinstance(type, MessageType) else message_type(type)
        self.sender = sender
        self.receiver = receiver
        self.content = content
        self.priority = priority if isinstance(priority, Priority) else urgency(priority)
        self.reply_to = reply_to
        self.deadline_ms = deadline_ms
        self.durable = durable
        self.processed = processed
        self.id = ""
        self.source = ""
        self.cursor: Optional[int] = None
        # Which life of the inbox the cursor belongs to; see `inbox`.
        self.life = 0
        self.hops = 0
        self.at_us = 0
        # The body as it came, if it was text: `content` may be what it says as JSON.
        self.text: Optional[str] = None

    def __repr__(self) -> str:
        name = f" {self.id}" if self.id else ""
        content = repr(self.content)
        shown = content if len(content) <= 60 else content[:57] + "..."
        return f"<Message{name} {self.type} {self.priority} {self.source or self.sender} -> {self.receiver}: {shown}>"


def received(event: Mapping[str, Any]) -> Message:
    """The message of a ``message`` event."""
    message = Message.__new__(Message)
    get = event.get
    message.type = TYPES[event["type"]]
    message.priority = PRIORITIES[event["priority"]]
    message.source = source = event["from"]
    message.sender = source.partition("@")[0]
    message.receiver = event["to"].partition("@")[0]
    message.content = read_body(event)
    message.reply_to = get("reply_to")
    message.deadline_ms = None
    message.durable = True
    message.processed = False
    message.id = event["id"]
    message.cursor = get("cursor")
    message.life = 0
    message.hops = get("hops", 0)
    message.at_us = get("at_us", 0)
    message.text = get("text")
    return message
