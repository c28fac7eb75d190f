"""Everything that can go wrong, as exceptions whose text says what to do.

Owns the hierarchy under :class:`MeshError` and how the gateway's error codes map to it. What is tried again by itself is
:mod:`mesh_gateway.agent`'s.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Type

from .printable import printable

if TYPE_CHECKING:
    from .receipt import Receipt


class MeshError(Exception):
    """Something could not be done with the mesh.

    Where it was the gateway that said so, ``code`` is its word for it, ``hint`` what to do, and ``field`` the field of the
    request that is wrong, if it is one.
    """

    code: str = ""
    hint: str = ""
    field: str = ""


class NotStartedError(MeshError):
    """It was used before ``start`` or after ``stop``."""


class GatewayAwayError(MeshError):
    """No gateway answers."""


class ConnectionLostError(GatewayAwayError):
    """The connection ended while something was in flight that does not survive it."""


class ProtocolError(MeshError):
    """What answers there does not speak the agents' protocol."""


class WrongCertificateError(MeshError):
    """What answers over TLS has another certificate than the gateway that is wanted."""


class KnownGatewaysError(MeshError):
    """The file of the gateways that are known over TLS cannot be used."""


class TokenError(MeshError):
    """A file with an access token cannot be used."""


class GatewayStartError(MeshError):
    """A gateway could not be found or started on this machine."""


class ContentError(MeshError, ValueError):
    """The content of a message cannot be written."""


class RefusedError(MeshError):
    """The gateway would not."""


class BadRequestError(RefusedError):
    """The request breaks a rule."""


class UnsupportedError(BadRequestError):
    """The gateway is older than this request."""


class UnauthorisedError(RefusedError):
    """The access token is missing or wrong."""


class TokenExpiredError(UnauthorisedError):
    """The access token was good, and is so no longer."""


class NameTakenError(RefusedError):
    """Another session has this agent's name now."""


class UnknownReceiverError(RefusedError):
    """No such agent was ever on the gateway that was named."""


class TooLargeError(RefusedError):
    """The body or a list is over its bound."""


class BusyError(RefusedError):
    """Too much is in flight."""


class OverloadedError(RefusedError):
    """The gateway has all the connections or agents it takes."""


class StorageError(RefusedError):
    """The gateway's disk has failed."""


class UndeliveredError(MeshError):
    """A question was not delivered, so that no answer can come. ``outcome`` says what became of it."""

    outcome: str = ""


class NoAnswerError(MeshError, asyncio.TimeoutError):
    """Nothing came in time. For a message that is still in flight, ``receipt`` is its receipt."""

    receipt: Optional[Receipt] = None


_BY_CODE: Dict[str, Type[RefusedError]] = {
    "bad_request": BadRequestError,
    "unauthorised": UnauthorisedError,
    "token_expired": TokenExpiredError,
    "name_taken": NameTakenError,
    "unknown_receiver": UnknownReceiverError,
    "too_large": TooLargeError,
    "busy": BusyError,
    "overloaded": OverloadedError,
    "storage": StorageError,
}

_ADVICE: Dict[str, str] = {
    "unauthorised": "give it as token=, with --token-file, in MESH_GATEWAY_TOKEN, or in a file that MESH_GATEWAY_TOKEN_FILE names",
    "name_taken": "a name has one session at a time",
    "unknown_receiver": "start the receiver once, or correct its name",
    "too_large": "send it in parts",
    "busy": "wait for receipts and read the inbox, then send it again",
    "storage": "see `mesh-gateway status`; durable=False still works",
}

#: Codes for which the words above are better than the gateway's, which do not know that this is Python.
_BETTER = ("unauthorised", "storage")


def refusal(event: Mapping[str, Any]) -> MeshError:
    """The exception for an ``error`` event."""
    code = str(event.get("code", ""))
    # It may repeat what others wrote, and goes into logs and to terminals.
    text = printable(str(event.get("message", "")))
    hint = printable(str(event.get("hint", "")))
    kind = _BY_CODE.get(code, RefusedError)
    error: MeshError
    unknown = re.search(r"unknown (?:variant|field) `([^`]*)`", text) if kind is BadRequestError else None
    if unknown is not None:
        error = UnsupportedError(f"this gateway does not know {unknown[1]!r}: it is older than this client, update it")
    else:
        advice = _ADVICE.get(code, hint) if code in _BETTER or not hint else hint
        if code == "unauthorised" and not (event.get("fatal") and ("asks for" in text or "is wrong" in text)):
            # There is a good token, and the gateway says what it allows.
            advice = hint
        error = kind(f"the gateway refused ({code}): {text}" + (f"; {advice}" if advice else ""))
    error.code = code
    error.hint = hint
    error.field = str(event.get("field", ""))
    return error
