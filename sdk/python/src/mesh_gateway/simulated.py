"""A gateway of one's own: found on this machine, started as a subprocess on the simulated adapter, stopped at the end.

Owns the process and its folder, and that it does not outlive this process, however that ends: a shell reads a pipe that
only this process writes to, and ends the gateway when the pipe ends without a word. How a program gets a gateway that
runs already is :mod:`mesh_gateway.endpoint`'s.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import List, Optional, Sequence, Union

from .errors import GatewayStartError

#: How long a gateway may take to listen, in seconds, and to stop. Guesses: a busy machine takes a second or two.
READY_WITHIN, STOP_WITHIN = 30.0, 10.0
# The gateway takes the shell's place, and with it its process id; $0 and what follows is its command.
_GUARDED = 'exec 3<&0; (read _ <&3 || kill $$) & exec "$0" "$@" 3<&- </dev/null'
BUILD = "build it with `cargo build --release -p mesh-gateway`, or say where it is with MESH_GATEWAY_BIN"


def find_gateway() -> Path:
    """The ``mesh-gateway`` program: ``MESH_GATEWAY_BIN``, else the ``target`` folder of the repository this package
    stands in, else the search path."""
    given = os.environ.get("MESH_GATEWAY_BIN")
    if given:
        if os.access(given, os.X_OK):
            return Path(given)
        raise GatewayStartError(f"cannot start a gateway: MESH_GATEWAY_BIN names {given}, which cannot be run; {BUILD}")
    for folder in Path(__file__).resolve().parents:
        if (folder / "Cargo.toml").is_file():
            for profile in ("debug", "release"):
                built = folder / "target" / profile / "mesh-gateway"
                if os.access(built, os.X_OK):
                    return built
    found = shutil.which("mesh-gateway")
    if found is None:
        raise GatewayStartError(f"cannot start a gateway: no program mesh-gateway is on this machine; {BUILD}")
    return Path(found)


class SimulatedGateway:
    """A gateway in a simulated air. Agents connect to :attr:`endpoint`, a Unix socket that no one else has.

    ``data_dir`` is a folder to keep; without it, one is made and removed at the end. ``nodes`` simulated nodes stand
    around, some of which answer queries, as ``echo``; ``options`` are further options of ``mesh-gateway``.
    """

    def __init__(
        self,
        data_dir: Union[str, Path, None] = None,
        *,
        nodes: int = 10,
        seed: int = 1,
        listen: str = "127.0.0.1:0",
        name: Optional[str] = None,
        options: Sequence[str] = (),
    ) -> None:
        self._given = data_dir
        self._folder: Optional[Path] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._options: List[str] = ["--sim-nodes", str(nodes), "--seed", str(seed), "--listen", listen, *options]
        if name is not None:
            self._options += ["--name", name]

    @property
    def endpoint(self) -> str:
        """Where agents connect, as ``gateway=`` takes it; there once it was started."""
        if self._folder is None:
            raise GatewayStartError("the gateway is not there yet, or no more: start it first")
        return f"unix:{self._folder / 'agents.sock'}"

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise GatewayStartError("the gateway is not running: start it first")
        return self._process.pid

    def output(self) -> str:
        """What it has printed so far."""
        assert self._folder is not None
        return (self._folder / "gateway.log").read_text(encoding="utf-8", errors="replace")

    def listens_at(self) -> str:
        """Where it listens over TCP, as ``HOST:PORT``."""
        for line in self.output().splitlines():
            if line.startswith("agents connect to "):
                return line.split()[3]
        raise GatewayStartError(f"the gateway did not say where it listens: {self.output()[-500:]}")

    async def start(self) -> SimulatedGateway:
        """Starts it, again after :meth:`kill` too, and waits until it listens."""
        self._spawn()
        until = time.monotonic() + READY_WITHIN
        while not self._ready(until):
            await asyncio.sleep(0.02)
        return self

    def start_blocking(self) -> SimulatedGateway:
        """The same without an event loop."""
        self._spawn()
        until = time.monotonic() + READY_WITHIN
        while not self._ready(until):
            time.sleep(0.02)
        return self

    async def stop(self) -> None:
        """Stops it gently and removes what it made."""
        self._unguard()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        await asyncio.get_running_loop().run_in_executor(None, self.stop_blocking)

    def stop_blocking(self) -> None:
        """The same without an event loop."""
        self._unguard()
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None and self._given is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        atexit.unregister(self.stop_blocking)

    def kill(self) -> None:
        """Ends it as a power cut would; its folder stays, so that :meth:`start` goes on with it."""
        self._unguard()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def __aenter__(self) -> SimulatedGateway:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _spawn(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._unguard()
        # Before there is a folder: without the program, none is left behind.
        program = find_gateway()
        if self._folder is None:
            if self._given is None:
                self._folder = Path(tempfile.mkdtemp(prefix="mesh-"))
            else:
                self._folder = Path(self._given).resolve()
                self._folder.mkdir(parents=True, exist_ok=True)
        socket = self._folder / "agents.sock"
        command = [str(program), "--adapter", "sim", "--data-dir", str(self._folder), "--unix-socket", str(socket)]
        # What the environment says is for a gateway of the user's, not for this one.
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MESH_GATEWAY")}
        try:
            with open(self._folder / "gateway.log", "wb") as output:
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _GUARDED, *command, *self._options],
                    stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=plain,
                )  # fmt: skip
        except OSError as why:
            self.stop_blocking()
            raise GatewayStartError(f"cannot start a gateway: {why}; {BUILD}") from why
        atexit.register(self.stop_blocking)

    def _ready(self, until: float) -> bool:
        if "agents connect to " in self.output():
            return True
        assert self._process is not None
        ended = self._process.poll()
        if ended is None and time.monotonic() < until:
            return False
        why = f"it ended with {ended}" if ended is not None else f"it did not listen within {READY_WITHIN} s"
        printed = self.output()[-1000:].strip()
        self.stop_blocking()
        raise GatewayStartError(f"cannot start a gateway: {why}; it says: {printed or 'nothing'}")

    def _unguard(self) -> None:
        """It is ended from here now: the shell that waits must not send a signal to whoever has its number next."""
        pipe = None if self._process is None else self._process.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(b"\n")
                pipe.close()
            except OSError:
                # That shell is gone.
                pass
