"""Where the gateway is, what it is known by, and which token it wants: from arguments, else from the environment, else the default.

Owns the names of the environment variables, which are those of the ``mesh-gateway`` commands. Opens nothing but the
token's file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Optional, Union

from .errors import MeshError
from .tls import read_fingerprint

DEFAULT = "127.0.0.1:7700"


class Endpoint(NamedTuple):
    """A gateway's door: a host and port, or the path of a Unix socket.

    With ``fingerprint``, the SHA-256 of the gateway's certificate, what is said there goes over TLS, and to that gateway only.
    """

    host: str
    port: int
    path: str
    fingerprint: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_endpoint(
    gateway: Union[str, Endpoint, None] = None, port: Optional[int] = None, fingerprint: Optional[str] = None
) -> Endpoint:
    """The endpoint that is meant: ``gateway``, else ``MESH_GATEWAY``, else ``port`` of this machine, else
    ``127.0.0.1:7700``; known by ``fingerprint``, else by ``MESH_GATEWAY_FINGERPRINT``, else by nothing and without TLS.

    A Unix socket stays on this machine and needs neither."""
    known_by = fingerprint or os.environ.get("MESH_GATEWAY_FINGERPRINT") or ""
    pin = read_fingerprint(known_by) if known_by else ""
    if isinstance(gateway, Endpoint):
        return gateway if gateway.path or (gateway.fingerprint and not fingerprint) else gateway._replace(fingerprint=pin)
    text = gateway or os.environ.get("MESH_GATEWAY") or (DEFAULT if port is None else f"127.0.0.1:{port}")
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if path:
            return Endpoint("", 0, path)
    else:
        host, colon, number = text.rpartition(":")
        if colon and host and number.isdecimal() and 0 < int(number) < 65536:
            return Endpoint(host.strip("[]"), int(number), "", pin)
    raise ValueError(
        f"cannot look for a gateway at {text!r}: write HOST:PORT, as in {DEFAULT}, or unix:PATH"
    )


def find_token(token: Optional[str] = None, token_file: Union[str, Path, None] = None) -> Optional[str]:
    """The access token: ``token``, else what ``token_file`` holds, else ``MESH_GATEWAY_TOKEN``, else what the file named
    by ``MESH_GATEWAY_TOKEN_FILE`` holds, else none."""
    if token:
        return token
    if token_file is None:
        told = os.environ.get("MESH_GATEWAY_TOKEN")
        if told:
            return told
        token_file = os.environ.get("MESH_GATEWAY_TOKEN_FILE") or None
    if token_file is None:
        return None
    try:
        found = Path(token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as why:
        raise MeshError(f"cannot read the access token from {token_file}: {why}; give a file of one line") from why
    if not found:
        raise MeshError(f"cannot read the access token from {token_file}: it is empty; give a file of one line")
    return found
