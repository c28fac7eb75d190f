"""Where the gateway is, what it is known by, and which token it wants: from arguments, else from the environment, else the default.

Owns the names of the environment variables, which are those of the ``mesh-gateway`` commands. Opens nothing but the
token's file.
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import NamedTuple, Optional, Union

from .errors import TokenError
from .tls import read_fingerprint

DEFAULT = "127.0.0.1:7700"


class Endpoint(NamedTuple):
    """Where a gateway listens: a host and port, or the path of a Unix socket.

    With ``fingerprint``, the SHA-256 of the gateway's certificate, what is said there goes over TLS, and to that gateway only. With
    ``tls`` and no fingerprint, to the gateway that was there first.
    """

    host: str
    port: int
    path: str
    fingerprint: str = ""
    tls: bool = False

    @property
    def address(self) -> str:
        """The host and port, as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"tls:{self.address}" if self.tls else self.address


#: No gateway at all, as long as one of one's own is not started.
NOWHERE = Endpoint("", 0, "(not started)")


class Access(NamedTuple):
    """Where a gateway listens, and the token it asks for."""

    endpoint: Endpoint
    token: Optional[str] = None


def find_access(
    port: Optional[int] = None,
    gateway: Union[str, Endpoint, None] = None,
    token: Optional[str] = None,
    token_file: Union[str, Path, None] = None,
    fingerprint: Optional[str] = None,
) -> Access:
    """Both, from the arguments that everything with a session takes, else from the environment."""
    return Access(find_endpoint(gateway, port, fingerprint), find_token(token, token_file))


def environment_names_one() -> bool:
    """Whether ``MESH_GATEWAY`` says where the gateway is."""
    return bool(os.environ.get("MESH_GATEWAY"))


def find_endpoint(
    gateway: Union[str, Endpoint, None] = None, port: Optional[int] = None, fingerprint: Optional[str] = None
) -> Endpoint:
    """The endpoint that is meant: ``gateway``, else ``port`` of this machine, else ``MESH_GATEWAY``, else
    ``127.0.0.1:7700``; known by ``fingerprint``, else by ``MESH_GATEWAY_FINGERPRINT``, else with ``tls:HOST:PORT`` by what it showed
    first, else by nothing and without TLS.

    A Unix socket stays on this machine and needs neither."""
    # An empty fingerprint, perhaps from an empty variable of a shell, is an error: it must not mean "without TLS".
    known_by = os.environ.get("MESH_GATEWAY_FINGERPRINT") or None if fingerprint is None else fingerprint
    pin = "" if known_by is None else read_fingerprint(known_by)
    if isinstance(gateway, Endpoint):
        has_own = gateway.fingerprint and fingerprint is None
        return gateway if gateway.path or has_own else gateway._replace(fingerprint=pin)
    said = ""
    if gateway is not None:
        text = gateway
    elif port is not None:
        text = f"127.0.0.1:{port}"
    else:
        text = os.environ.get("MESH_GATEWAY") or DEFAULT
        said = " that MESH_GATEWAY names"
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if path:
            return Endpoint("", 0, path)
    else:
        over_tls = text.startswith("tls:")
        host, colon, number = (text[len("tls:") :] if over_tls else text).rpartition(":")
        if colon and host and number.isascii() and number.isdecimal() and 0 < int(number) < 65536:
            return Endpoint(host.strip("[]"), int(number), "", pin, over_tls)
    raise ValueError(f"cannot look for a gateway at {text!r}{said}; write HOST:PORT, as in {DEFAULT}, tls:HOST:PORT or unix:PATH")


def find_token(token: Optional[str] = None, token_file: Union[str, Path, None] = None) -> Optional[str]:
    """The access token: ``token``, else what ``token_file`` holds, else ``MESH_GATEWAY_TOKEN``, else what the file named
    by ``MESH_GATEWAY_TOKEN_FILE`` holds, else none."""
    if token is not None:
        return token or None
    said = ""
    if token_file is None:
        given = os.environ.get("MESH_GATEWAY_TOKEN")
        if given:
            return given
        token_file = os.environ.get("MESH_GATEWAY_TOKEN_FILE") or None
        said = " that MESH_GATEWAY_TOKEN_FILE names"
    return None if token_file is None else _read_token(token_file, said)


def _read_token(path: Union[str, Path], said: str) -> str:
    attempt = f"cannot read the access token from {path}{said}"
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise TokenError(f"{attempt}: there is no such file; correct the path, or ask the gateway's operator for a token") from None
    except PermissionError:
        raise TokenError(f"{attempt}: this user may not read it; run this as the user whose it is") from None
    except IsADirectoryError:
        raise TokenError(f"{attempt}: it is a folder; give the file in it") from None
    except OSError as why:
        raise TokenError(f"{attempt}: {why.strerror or why}; give a file of one line") from why
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TokenError(f"{attempt}: it begins with the mark of UTF-16, as some shells write it; save it again as UTF-8")
    try:
        # Some editors put a mark of UTF-8 before the first character.
        found = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise TokenError(f"{attempt}: it is not text; give the file that holds what `mesh-gateway token add` printed") from None
    if not found:
        raise TokenError(f"{attempt}: it is empty; give a file of one line")
    if len(found.splitlines()) > 1:
        raise TokenError(f"{attempt}: it has more than one line; give a file with the token alone")
    return found
