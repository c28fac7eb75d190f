"""Programs talk to each other over an encrypted Bluetooth LE mesh, through a gateway.

    async with MeshNetworkManager("agent_001") as mesh:
        receipt = await mesh.send_message(Message(MessageType.TASK, receiver="worker_001", content={"n": 1}))
        print(await receipt.outcome())

What is promised stands in the package's README; the protocol underneath in ``docs/agents.md``.
"""

import logging as _logging

from .agent import Agent
from .endpoint import Endpoint
from .errors import (
    BadRequestError,
    BusyError,
    ConnectionLostError,
    ContentError,
    GatewayAwayError,
    GatewayStartError,
    KnownGatewaysError,
    MeshError,
    NameTakenError,
    NoAnswerError,
    NotStartedError,
    OverloadedError,
    ProtocolError,
    RefusedError,
    StorageError,
    TokenError,
    TokenExpiredError,
    TooLargeError,
    UnauthorisedError,
    UndeliveredError,
    UnknownReceiverError,
    UnsupportedError,
    WrongCertificateError,
)
from .health import NetworkHealthMonitor
from .manager import MeshNetworkManager
from .message import Message, MessageType, Outcome, Priority
from .pool import ConnectionPool
from .printable import printable
from .protocol import MeshEnabledProtocol, create_mesh_enabled_protocol
from .receipt import Receipt
from .router import MeshRouter
from .simulated import SimulatedGateway
from .sync import SyncMesh, SyncReceipt

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "BadRequestError",
    "BusyError",
    "ConnectionLostError",
    "ConnectionPool",
    "ContentError",
    "Endpoint",
    "GatewayAwayError",
    "GatewayStartError",
    "KnownGatewaysError",
    "MeshEnabledProtocol",
    "MeshError",
    "MeshNetworkManager",
    "MeshRouter",
    "Message",
    "MessageType",
    "NameTakenError",
    "NetworkHealthMonitor",
    "NoAnswerError",
    "NotStartedError",
    "Outcome",
    "OverloadedError",
    "Priority",
    "ProtocolError",
    "Receipt",
    "RefusedError",
    "SimulatedGateway",
    "StorageError",
    "SyncMesh",
    "SyncReceipt",
    "TokenError",
    "TokenExpiredError",
    "TooLargeError",
    "UnauthorisedError",
    "UndeliveredError",
    "UnknownReceiverError",
    "UnsupportedError",
    "WrongCertificateError",
    "create_mesh_enabled_protocol",
    "printable",
]

# What is shown, and where, is the program's to say.
_logging.getLogger("mesh_gateway").addHandler(_logging.NullHandler())
