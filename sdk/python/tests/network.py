"""Gateways, and the air between them, as the pages tell people to start them.

Owns their processes, on ports and in a folder of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Dict, List

from support import PATIENCE, SOURCE
from mesh_gateway.simulated import find_gateway

REPOSITORY = Path(__file__).resolve().parents[3]
README = REPOSITORY / "sdk" / "python" / "README.md"
#: What they print when they are ready.
READY = {"mesh-gateway": "agents connect to ", "mesh-sim": " over H4"}


def block(heading: str, language: str, page: Path = README) -> str:
    """The first fenced block of a language under a heading."""
    section = re.split(r"(?m)^##+ ", page.read_text(encoding="utf-8"))
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    found = re.search(rf"(?ms)^```{language}\n(.*?)^```", text)
    assert found is not None, f"no block of {language} under {heading!r}"
    return found[1]


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Network:
    """What the lines of a page start."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        here = Path(self.folder.name)
        self.ports = {port: str(free_port()) for port in ("8000", "8001", "6500")}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MESH_GATEWAY")}
        self.environment["PYTHONPATH"] = str(SOURCE)
        self.environment["PATH"] = os.pathsep.join([self.folder.name, os.environ.get("PATH", "")])
        gateway = find_gateway().resolve()
        (here / "mesh-gateway").symlink_to(gateway)
        (here / "mesh-sim").symlink_to(gateway.with_name("mesh-sim"))
        (here / "sdk").symlink_to(REPOSITORY / "sdk")
        self.commands: List[List[str]] = []
        #: What each prints.
        self.outputs: List[Path] = []
        self.running: Dict[int, "subprocess.Popen[bytes]"] = {}
        #: The commands that are gateways, in order.
        self.gateways: List[int] = []

    def here(self, text: str) -> str:
        """The text with the ports of this network."""
        return re.sub(r"\b(8000|8001|6500)\b", lambda port: self.ports[port[0]], text)

    def run(self, script: str) -> None:
        """Runs what a page tells people to type."""
        for line in self.here(script).splitlines():
            if line.endswith("&"):
                command, _, output = line[:-1].partition(">")
                self.commands.append(shlex.split(command))
                number = len(self.commands) - 1
                self.outputs.append(Path(self.folder.name) / (output.strip() or f"output-{number}"))
                if self.commands[-1][0] == "mesh-gateway":
                    self.gateways.append(number)
                self.start(number)
            elif line.startswith("export "):
                name, _, value = line[len("export ") :].partition("=")
                self.environment[name] = value
            elif not line.startswith("sleep "):
                done = subprocess.run(
                    line, shell=True, cwd=self.folder.name, env=self.environment, capture_output=True, timeout=PATIENCE
                )
                assert done.returncode == 0, (line, done)

    def start(self, number: int) -> None:
        """Starts a command, and waits until it is ready."""
        name, *arguments = self.commands[number]
        program = Path(self.folder.name) / name
        assert os.access(program, os.X_OK), f"{program.readlink()} is not there: build it with `cargo build -p mesh-gateway -p firmware-sim`"
        with open(self.outputs[number], "wb") as output:
            process = subprocess.Popen(
                [str(program), *arguments], cwd=self.folder.name, env=self.environment, stdout=output, stderr=subprocess.DEVNULL
            )
        self.running[number] = process
        while READY[name] not in self.outputs[number].read_text(encoding="utf-8"):
            assert process.poll() is None, f"{name} ended with {process.returncode}"
            time.sleep(0.01)

    def kill(self, number: int) -> None:
        """Ends a command as a power cut would."""
        with self.running.pop(number) as process:
            process.kill()

    def address(self, which: int) -> str:
        """Where a gateway listens."""
        return f"127.0.0.1:{self.ports[f'800{which}']}"

    def close(self) -> None:
        """Ends all."""
        for number in list(self.running):
            self.kill(number)
        self.folder.cleanup()
