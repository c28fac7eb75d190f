"""One connection: bytes to events, lines to bytes.

Owns batching in both directions, the bound on a line, and that nothing is sent to or read from a gateway that is not the one
that is wanted. All events that came together are parsed by one call, and all
lines that were written in one turn of the event loop leave in one. What they mean is :mod:`mesh_gateway.agent`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from typing import Any, Callable, Dict, List, Optional, cast

from . import tls
from .endpoint import Endpoint
from .errors import MeshError

Event = Dict[str, Any]

#: How long an address of a name may be tried before the next one is tried beside it, in seconds; RFC 8305 has the figure.
NEXT_ADDRESS_AFTER = 0.25
#: The longest line of a gateway, in bytes: 1 MiB by docs/agents.md, and its end.
LONGEST_LINE = (1 << 20) + 2

log = logging.getLogger("mesh_gateway.wire")

_parse = json.JSONDecoder().decode


class Wire(asyncio.Protocol):
    """A connection to a gateway. ``on_events`` gets every batch of events; ``lost`` is done when it has ended."""

    def __init__(
        self, on_events: Callable[[List[Event]], None], on_room: Callable[[], None], secure: Optional[Endpoint] = None
    ) -> None:
        self._on_events = on_events
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        #: Which gateway it must be, where that is looked at.
        self._secure = secure
        self._transport: Optional[asyncio.Transport] = None
        self._partial = b""
        self._lines: List[str] = []
        #: How often something came.
        self.reads = 0
        #: Whether the gateway reads slower than is written to it.
        self.full = False
        #: Done with the reason when the connection has ended.
        self.lost: asyncio.Future[str] = self._loop.create_future()
        #: Why it is to the wrong gateway, if it is.
        self.wrong: Optional[MeshError] = None

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=256 * 1024)
        # Here and not in `connect`: with the last of the handshake, events may come at once.
        secure = self._secure
        self.wrong = None if secure is None else tls.wrong_certificate(transport, secure.address, secure.fingerprint)
        if self.wrong is not None:
            self.abort(str(self.wrong))

    def data_received(self, data: bytes) -> None:
        if self.lost.done():
            return
        self.reads += 1
        end = data.rfind(b"\n")
        if end < 0:
            self._partial += data
            if len(self._partial) > LONGEST_LINE:
                self.abort("it sent a line without end; is it a gateway?")
            return
        whole = self._partial + data[:end]
        self._partial = data[end + 1 :]
        try:
            # A newline inside of a text is written \n, so that one in the bytes only separates.
            events = _parse("[" + whole.decode().replace("\n", ",") + "]")
            self._on_events(events)
        except Exception as why:  # whatever it is, nothing more can be understood
            log.exception("cannot understand the gateway")
            self.abort(f"cannot understand what it says ({why!r}); is it a gateway of the same version?")

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._on_room()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._lines.clear()
        self.ends(str(exc) if exc else "it closed the connection")

    # ---- what the agent calls ----

    def write(self, line: str) -> None:
        """Writes a line, which ends with a newline, together with all others of this turn."""
        if not self._lines:
            self._loop.call_soon(self._flush)
        self._lines.append(line)

    def _flush(self) -> None:
        if self._lines and self._transport is not None and not self._transport.is_closing():
            self._transport.write("".join(self._lines).encode())
        self._lines.clear()

    def close(self) -> None:
        """Ends the connection after all that was written."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        """Ends the connection at once."""
        self.ends(why)
        if self._transport is not None:
            self._transport.abort()

    def ends(self, why: str) -> None:
        """Nothing more is to be expected; the first reason counts."""
        if not self.lost.done():
            self.lost.set_result(why)


async def connect(endpoint: Endpoint, on_events: Callable[[List[Event]], None], on_room: Callable[[], None]) -> Wire:
    """Opens a connection. Raises :class:`OSError` if nobody answers, :class:`WrongCertificateError` if another does."""
    loop = asyncio.get_running_loop()

    over_tls = bool(endpoint.fingerprint or endpoint.tls)

    def make() -> Wire:
        return Wire(on_events, on_room, endpoint if over_tls else None)

    if endpoint.path:
        _, wire = await loop.create_unix_connection(make, endpoint.path)
        return wire
    known: Dict[str, Any] = dict(ssl=tls.context(), server_hostname="") if over_tls else {}
    try:
        _, wire = await loop.create_connection(
            make, endpoint.host, endpoint.port, happy_eyeballs_delay=NEXT_ADDRESS_AFTER, **known
        )
    except ssl.SSLError as why:
        raise OSError(f"it does not speak TLS as a mesh-gateway does ({why}): check the address, or update it") from why
    if wire.wrong is not None:
        raise wire.wrong
    return wire
