"""Why no gateway answers, in words that say what to do about it.

Owns what the errors of the system mean here. A gateway that answers, and refuses, says why itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from typing import Optional

from .endpoint import Endpoint

_LOOK = "see whether it runs (`systemctl status mesh-gateway` there), and whether this is its address and port"
_UNREACHABLE = "see whether both machines are on one network, and whether the address is right"
_SILENT = "its machine may be off, or a firewall between: see whether the address is right"


def _number(why: OSError) -> Optional[int]:
    """The error's number; asyncio puts those of several addresses into one text."""
    if why.errno is not None:
        return why.errno
    found = set(re.findall(r"\[Errno (\d+)\]", str(why)))
    return int(found.pop()) if len(found) == 1 else None


def why_away(endpoint: Endpoint, why: BaseException) -> str:
    """The cause; what to do."""
    if isinstance(why, socket.gaierror):
        return f"the name {endpoint.host} is not known here ({why.strerror}); correct it, or write the address, as in 192.168.1.10:7700"
    number = _number(why) if isinstance(why, OSError) else None
    if isinstance(why, asyncio.TimeoutError) or number == errno.ETIMEDOUT:
        return f"it does not answer in time; {_SILENT}"
    if endpoint.path:
        if number == errno.ENOENT:
            return "there is no such socket; see whether the gateway runs, and what its setting `unix_socket` is"
        if number == errno.EACCES:
            return "this user may not open the socket; run this as the gateway's user, or connect over TCP with a token"
        if number == errno.ECONNREFUSED:
            return "nobody listens at that socket; see whether the gateway runs (`systemctl status mesh-gateway`)"
    elif number == errno.ECONNREFUSED:
        return f"the connection is refused, nobody listens there; {_LOOK}"
    elif number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL):
        return f"there is no way to it ({_said(why)}); {_UNREACHABLE}"
    elif number in (errno.EACCES, errno.EPERM):
        return f"this machine does not let the connection out ({_said(why)}); see its firewall"
    return _said(why)


def _said(why: BaseException) -> str:
    number = _number(why) if isinstance(why, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else str(why) or type(why).__name__
