"""A gateway that says what a test tells it to, to try requests that real ones do not know yet, and nonsense.

Owns doors, and what comes in there. It is no model of a gateway: everything else is tried against real ones.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple

from support import within

HANG_UP: Dict[str, Any] = {"ev": "hang up"}
Answer = Callable[[Dict[str, Any]], List[Dict[str, Any]]]


class ScriptedGateway:
    """Says welcome, and answers each request with what ``answer`` returns, ``ref`` added; ``HANG_UP`` ends the connection."""

    def __init__(self, answer: Answer, welcome: Optional[bytes] = None) -> None:
        self.requests: List[Dict[str, Any]] = []
        #: Where it says that it is.
        self.node = "0x0001"
        self._answer = answer
        self._welcome = welcome
        self._folder = tempfile.TemporaryDirectory()
        self._server: Optional[asyncio.AbstractServer] = None
        self.endpoint = f"unix:{self._folder.name}/agents.sock"

    async def __aenter__(self) -> ScriptedGateway:
        self._server = await asyncio.start_unix_server(self._serve, self.endpoint[len("unix:") :])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._folder.cleanup()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                request = json.loads(line)
                self.requests.append(request)
                told = self._events(request)
                writer.write(b"".join(json.dumps(event).encode() + b"\n" for event in told if event is not HANG_UP))
                if request["op"] == "hello" and self._welcome is not None:
                    writer.write(self._welcome)
                if request["op"] == "bye" or HANG_UP in told:
                    break
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _events(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        if request["op"] == "hello":
            if self._welcome is not None:
                return []
            return [{"ev": "welcome", "name": request.get("name", "anon-00000001"), "gateway": "scripted", "node": self.node, "session": 1,
                     "resumed_from": request.get("resume", 0), "credits": 256, "max_body": 65536}]  # fmt: skip
        refs = {"ref": request["ref"]} if "ref" in request else {}
        return [event if event is HANG_UP else {**refs, **event} for event in self._answer(request)]


class FarEnd:
    """Where the client connects: hears it line by line, says what it is told to."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self) -> None:
        self.server = await asyncio.start_server(lambda *ends: self._came.put_nowait(ends), "127.0.0.1", 0)
        self.address = "127.0.0.1:{}".format(self.server.sockets[0].getsockname()[1])

    async def answer(self) -> None:
        """Takes the next connection."""
        self.reader, self.writer = await within(self._came.get())

    async def hear(self) -> Dict[str, Any]:
        line = await within(self.reader.readline())
        assert line, "the client has gone"
        heard: Dict[str, Any] = json.loads(line)
        return heard

    def say(self, *events: Dict[str, Any]) -> None:
        self.writer.write(b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events))

    def close(self) -> None:
        self.server.close()
        while not self._came.empty():
            self._came.get_nowait()[1].close()
