"""The gateways that this user's programs have met over TLS, and what each was known by then.

Owns the file: one line for each, ``HOST:PORT`` and a fingerprint. The ``mesh-gateway`` commands and the Rust client read and write it too.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Optional

from .errors import KnownGatewaysError

#: Below the place where this user's programs keep their state.
PLACE = "mesh-gateway/known-gateways"
#: The longest file, in bytes: a guess, some 10,000 gateways.
LONGEST = 1 << 20

HEAD = """\
# Gateways that this user's programs have met over TLS: HOST:PORT and the SHA-256 of the certificate, as `mesh-gateway peers` there
# prints it. One that shows another certificate is refused: remove its line here once you know why it has changed.
"""

_INSTEAD = "or give the gateway's fingerprint, which `mesh-gateway peers` there prints"


def of_this_user() -> Path:
    """The file of this user: below ``$XDG_STATE_HOME``, else below ``~/.local/state``."""
    state, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    if os.path.isabs(state):
        return Path(state, PLACE)
    if os.path.isabs(home):
        return Path(home, ".local/state", PLACE)
    raise KnownGatewaysError(
        f"looking for the gateways that are known: neither XDG_STATE_HOME nor HOME is an absolute path; set one, {_INSTEAD}"
    )


def meet(path: Path, address: str, shown: str) -> str:
    """What the gateway at this ``HOST:PORT`` is known by; ``shown``, from now on, if it was not known.

    Programs that ask this at a time get one answer."""
    key = address.lower()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            # Until the file is closed.
            fcntl.flock(file, fcntl.LOCK_EX)
            about = os.fstat(file.fileno())
            if stat.S_ISREG(about.st_mode) and about.st_mode & 0o077:
                raise KnownGatewaysError(
                    f"reading which gateways are known: others than this user may change {path}; look through it and run `chmod 600 {path}`"
                )
            text = file.read(LONGEST + 1)
            known = _find(path, text, key)
            if known is not None:
                return known
            end = b"" if not text or text.endswith(b"\n") else b"\n"
            line = end + (b"" if text else HEAD.encode()) + f"{key} {shown}\n".encode()
            if len(text) + len(line) > LONGEST:
                raise KnownGatewaysError(
                    f"reading which gateways are known: {path} has more than {LONGEST} bytes; remove lines, or the file"
                )
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            return shown
    except OSError as why:
        raise KnownGatewaysError(
            f"keeping which gateways are known in {path}: {why.strerror or why}; check that this user may write there, {_INSTEAD}"
        ) from why


def _find(path: Path, text: bytes, key: str) -> Optional[str]:
    found: Optional[str] = None
    for number, raw in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        address, _, rest = line.partition(" ")
        digits = rest.strip().replace(":", "").lower()
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise KnownGatewaysError(
                f"reading which gateways are known: line {number} of {path} is no HOST:PORT and fingerprint; correct or remove it"
            )
        if found is None and address.lower() == key:
            found = digits
    return found
