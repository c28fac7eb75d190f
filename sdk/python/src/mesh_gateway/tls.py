"""TLS as gateways speak it: version 1.3, with a certificate that each makes itself and is known by, its SHA-256.

Owns what a fingerprint is and whether a connection shows the right one: the one that is wanted, else the one that was shown first. Authorities and names of hosts say nothing here.
That nothing is sent or read before the certificate is known is :mod:`mesh_gateway.wire`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from typing import Optional

from . import known
from .errors import MeshError, WrongCertificateError

#: What agents speak, for whoever asks before the first line.
ALPN = "mesh-agent/1"

_DIGITS = re.compile(r"[0-9a-f]{64}\Z")


def read_fingerprint(text: str) -> str:
    """A fingerprint as `mesh-gateway peers` prints it. Raises :class:`ValueError` if it is none."""
    digits = text.strip().replace(":", "").lower()
    if not _DIGITS.match(digits):
        raise ValueError(
            f"cannot know a gateway by {text!r}: a fingerprint has 64 hexadecimal digits, and `mesh-gateway peers` at that "
            "gateway prints its own"
        )
    return digits


def context() -> ssl.SSLContext:
    """For connections to gateways whose fingerprints are known."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    # That the other end has the certificate's key is always checked; that it is the right certificate, by its fingerprint.
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols([ALPN])
    return made


def wrong_certificate(transport: asyncio.BaseTransport, address: str, fingerprint: str) -> Optional[MeshError]:
    """Why this connection is not to the gateway that is wanted at that address: the one with that fingerprint, or without one the first
    that was met there. ``None`` if it is."""
    shown = transport.get_extra_info("ssl_object")
    certificate = None if shown is None else shown.getpeercert(binary_form=True)
    found = hashlib.sha256(certificate).hexdigest() if certificate else "none"
    wanted, new = fingerprint, "give the new fingerprint that `mesh-gateway peers` prints there"
    if not wanted:
        if not certificate:
            return WrongCertificateError(f"the gateway at {address} shows no certificate; nothing was sent")
        try:
            kept = known.of_this_user()
            wanted = known.meet(kept, address, found)
        except MeshError as why:
            return why
        new = f"compare it with what `mesh-gateway peers` prints there, and remove the line of {address} from {kept}"
    if found == wanted:
        return None
    return WrongCertificateError(
        f"this is not the gateway that is wanted: its certificate's fingerprint is {found} and not {wanted}. Nothing was "
        f"sent. If it lost its data directory, {new}; otherwise somebody else answers at its address"
    )
