"""Over TLS an agent talks to the gateway whose certificate it knows, and to nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, List
from unittest import mock

from support import PATIENCE, SOURCE, GatewayCase, within
from mesh_gateway import (
    ConnectionPool, Endpoint, GatewayAwayError, KnownGatewaysError, MeshNetworkManager, Message, NetworkHealthMonitor, Outcome, WrongCertificateError,
)  # fmt: skip
from mesh_gateway import known
from mesh_gateway.endpoint import find_endpoint
from mesh_gateway.simulated import find_gateway
from mesh_gateway.wire import Wire

TOKEN = "a-token-of-some-length"
NOBODYS = "ab" * 32


class Relay:
    """Passes bytes on to the gateway, and keeps those of the agents."""

    def __init__(self, to: str) -> None:
        self.host, _, self.port = to.rpartition(":")
        self.seen = b""

    async def __aenter__(self) -> Relay:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:{}".format(self.server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.host, int(self.port))

        async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter, keep: bool) -> None:
            try:
                while data := await source.read(65536):
                    self.seen += data if keep else b""
                    to.write(data)
            except ConnectionError:
                pass
            to.close()

        await asyncio.gather(pass_on(reader, back, True), pass_on(there, writer, False))


class OverTls(GatewayCase):
    async def asyncSetUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        token_file = os.path.join(folder.name, "token")
        with open(os.open(token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(TOKEN)
        self.options = ["--access-token-file", token_file]
        await super().asyncSetUp()
        self.door = self.gateway.listens_at()
        told = subprocess.run(
            [find_gateway(), "peers", "--json", "--gateway", self.gateway.endpoint], capture_output=True, timeout=PATIENCE, check=True
        )
        self.fingerprint: str = json.loads(told.stdout)["fingerprint"]

    async def over_tls(self, name: str, **options: Any) -> MeshNetworkManager:
        how = {"gateway": self.door, "token": TOKEN, "fingerprint": self.fingerprint, **options}
        mesh = MeshNetworkManager(name, **how)
        await within(mesh.start())
        self.addAsyncCleanup(mesh.stop)
        return mesh

    async def test_messages_cross_and_neither_they_nor_the_token_can_be_read_on_the_way(self) -> None:
        async with Relay(self.door) as relay:
            alice, bob = await self.over_tls("alice", gateway=relay.address), await self.over_tls("bob")
            receipt = await within(alice.send_message(Message("TASK", receiver="bob", content="a secret")))
            self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
            self.assertEqual((await bob.receive_message(PATIENCE)).content, "a secret")
            await within(alice.stop())
            self.assertGreater(len(relay.seen), 0)
            for secret in (TOKEN, "a secret", "alice"):
                self.assertNotIn(secret.encode(), relay.seen)
            # The relay would have seen it.
            async with MeshNetworkManager("carol", gateway=relay.address, token=TOKEN):
                self.assertIn(TOKEN.encode(), relay.seen)

    async def test_long_messages_cross_in_both_directions_and_a_gateway_that_was_killed_is_found_again(self) -> None:
        alice, bob = await self.over_tls("alice"), await self.over_tls("bob")
        bodies = [chr(ord("a") + n % 26) * 60_000 for n in range(40)]
        for again in range(2):
            receipts = await within(asyncio.gather(*(alice.submit(Message("TASK", receiver="bob", content=body)) for body in bodies)))
            self.assertEqual([(await bob.receive_message(PATIENCE)).content for _ in bodies], bodies)
            self.assertEqual(set(await within(asyncio.gather(*receipts))), {Outcome.DELIVERED})
            if not again:
                self.gateway.kill()
                self.gateway._options[self.gateway._options.index("--listen") + 1] = self.door
                await self.gateway.start()

    async def test_a_wrong_certificate_is_refused_before_anything_is_said(self) -> None:
        with mock.patch.object(Wire, "write") as written:
            mesh = MeshNetworkManager("alice", gateway=self.door, token=TOKEN, fingerprint=NOBODYS)
            with self.assertRaisesRegex(
                WrongCertificateError, f"fingerprint is {self.fingerprint} and not {NOBODYS}. Nothing was sent. .*`mesh-gateway peers`"
            ):
                await within(mesh.start())
        written.assert_not_called()

    async def test_a_gateway_with_a_new_certificate_is_not_the_one_that_was_there(self) -> None:
        alice = await self.over_tls("alice")
        self.gateway.kill()
        (certificate,) = Path(self.gateway.endpoint[len("unix:") :]).parent.rglob("tls.identity")
        certificate.unlink()
        self.gateway._options[self.gateway._options.index("--listen") + 1] = self.door
        await self.gateway.start()
        with self.assertRaises(WrongCertificateError):
            await within(alice.receive_message())

    async def test_a_gateway_is_met_once_by_programs_and_commands_alike(self) -> None:
        state = tempfile.TemporaryDirectory()
        self.addCleanup(state.cleanup)
        at = f"tls:{self.door}"
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": state.name}):
            async with MeshNetworkManager("alice", gateway=at, token=TOKEN) as alice:
                self.assertEqual((await within(alice.get_peers()))["fingerprint"], self.fingerprint)
            # What one of them has met, the other knows.
            told = subprocess.run(
                [find_gateway(), "peers", "--gateway", at, "--token-file", self.options[1]],
                capture_output=True, timeout=PATIENCE, check=True,
            )  # fmt: skip
            self.assertNotIn(b"first time", told.stderr)
            kept = Path(state.name, "mesh-gateway/known-gateways")
            kept.write_text(kept.read_text().replace(self.fingerprint, NOBODYS))
            for again in range(2):
                mesh = MeshNetworkManager("alice", gateway=at, token=TOKEN)
                with self.assertRaisesRegex(WrongCertificateError, f"and not {NOBODYS}. Nothing was sent.*remove the line of {self.door} from"):
                    await within(mesh.start())
            kept.chmod(0o666)
            mesh = MeshNetworkManager("alice", gateway=at, token=TOKEN)
            with self.assertRaisesRegex(KnownGatewaysError, "chmod 600"):
                await within(mesh.start())

    async def test_the_same_door_takes_agents_without_tls(self) -> None:
        async with MeshNetworkManager("alice", gateway=self.door, token=TOKEN) as alice:
            self.assertEqual((await within(alice.get_peers()))["fingerprint"], self.fingerprint)

    async def test_a_door_that_knows_no_tls_is_told_to_be_none(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b'{"ev":"error","code":"bad_request","message":"cannot read the line","fatal":true}\n')
            writer.close()

        plain = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.addCleanup(plain.close)
        at = "127.0.0.1:{}".format(plain.sockets[0].getsockname()[1])
        mesh = MeshNetworkManager("alice", gateway=at, token=TOKEN, fingerprint=self.fingerprint, connect_timeout=0.3)
        with self.assertRaisesRegex(GatewayAwayError, "does not speak TLS as a mesh-gateway does"):
            await within(mesh.start())

    async def test_every_session_goes_over_tls_when_the_environment_says_so(self) -> None:
        told = {"MESH_GATEWAY": self.door, "MESH_GATEWAY_TOKEN": TOKEN, "MESH_GATEWAY_FINGERPRINT": self.fingerprint}
        with mock.patch.dict(os.environ, told):
            async with MeshNetworkManager("bob") as bob, ConnectionPool(1) as pool, NetworkHealthMonitor() as monitor:
                async with pool.connection() as agent:
                    receipt = await within(agent.send(Message("TASK", receiver="bob", content=1)))
                    self.assertEqual(await within(receipt.outcome()), Outcome.DELIVERED)
                await within(monitor.fetch_healthy_peers())
                sessions = [bob.agent, agent, await monitor.session()]
                for session in sessions:
                    assert session._wire is not None and session._wire._transport is not None
                    tls = session._wire._transport.get_extra_info("ssl_object")
                    self.assertEqual((tls.version(), tls.selected_alpn_protocol()), ("TLSv1.3", "mesh-agent/1"))

    async def test_commands_know_the_gateway_too(self) -> None:
        def status(*more: str) -> List[Any]:
            environment = {**os.environ, "PYTHONPATH": str(SOURCE), "MESH_GATEWAY_TOKEN": TOKEN}
            done = subprocess.run(
                [sys.executable, "-m", "mesh_gateway", "status", "--gateway", self.door, *more], capture_output=True, env=environment,
                timeout=PATIENCE,
            )  # fmt: skip
            return [done.returncode, (done.stdout + done.stderr).decode()]

        code, told = await asyncio.get_running_loop().run_in_executor(None, status, "--fingerprint", self.fingerprint)
        self.assertEqual(code, 0, told)
        for fingerprint, wanted, why in ((NOBODYS, 1, "is not the gateway that is wanted"), ("abc", 2, "64 hexadecimal digits")):
            code, told = await asyncio.get_running_loop().run_in_executor(None, status, "--fingerprint", fingerprint)
            self.assertEqual(code, wanted, told)
            self.assertIn(why, told)


class FirstUse(unittest.TestCase):
    def test_the_first_one_is_kept_and_the_file_is_the_commands_own(self) -> None:
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_STATE_HOME": folder}):
            path = known.of_this_user()
            self.assertEqual(path, Path(folder, "mesh-gateway/known-gateways"))
            self.assertEqual(known.meet(path, "Barn:7700", "ab" * 32), "ab" * 32)
            self.assertEqual(known.meet(path, "barn:7700", "cd" * 32), "ab" * 32)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            told = path.read_text()
            # As the Rust client writes it, to the byte.
            source = (SOURCE.parents[1] / "rust/src/known.rs").read_text()
            head = source.split('const HEAD: &str = "\\\n')[1].split('";')[0]
            self.assertEqual(told, head + "barn:7700 " + "ab" * 32 + "\n")
            for wrong, why in ((told + "roof:7700 cdcd", "line 4 of"), ("#" * (known.LONGEST + 1), "more than")):
                path.write_text(wrong)
                with self.assertRaisesRegex(KnownGatewaysError, why):
                    known.meet(path, "roof:7700", "ef" * 32)
                self.assertEqual(path.read_text(), wrong)
            path.chmod(0o640)
            with self.assertRaisesRegex(KnownGatewaysError, "chmod 600"):
                known.meet(path, "barn:7700", "ab" * 32)
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": "", "HOME": "here"}):
            with self.assertRaisesRegex(KnownGatewaysError, "HOME is an absolute path"):
                known.of_this_user()


class Known(unittest.IsolatedAsyncioTestCase):
    async def test_what_another_says_at_once_is_not_heard(self) -> None:
        heard: List[Any] = []
        wire, transport = Wire(heard.extend, lambda: None, Endpoint("h", 1, "", NOBODYS)), mock.Mock(asyncio.Transport)
        transport.get_extra_info.return_value.getpeercert.return_value = b"another certificate"
        # As with the last of the handshake, before anyone could look.
        wire.connection_made(transport)
        wire.data_received(b'{"ev":"welcome"}\n')
        self.assertEqual(heard, [])
        self.assertIn("is not the gateway that is wanted", await wire.lost)
        transport.write.assert_not_called()
        transport.abort.assert_called_once_with()

    async def test_an_argument_goes_before_the_environment_and_a_unix_socket_needs_none(self) -> None:
        colons = ":".join(["AB"] * 32)
        with mock.patch.dict(os.environ, {"MESH_GATEWAY_FINGERPRINT": "cd" * 32}):
            self.assertEqual(find_endpoint("h:1").fingerprint, "cd" * 32)
            self.assertEqual(find_endpoint("h:1", fingerprint=colons), Endpoint("h", 1, "", NOBODYS))
            self.assertEqual(find_endpoint(Endpoint("h", 1, "")).fingerprint, "cd" * 32)
            self.assertEqual(find_endpoint(Endpoint("h", 1, "", NOBODYS)).fingerprint, NOBODYS)
            self.assertEqual(find_endpoint(Endpoint("h", 1, "", NOBODYS), fingerprint="ef" * 32).fingerprint, "ef" * 32)
            self.assertEqual(find_endpoint("unix:/run/mesh.sock"), Endpoint("", 0, "/run/mesh.sock"))
            self.assertEqual(find_endpoint("tls:h:1").fingerprint, "cd" * 32)
            os.environ["MESH_GATEWAY_FINGERPRINT"] = "nonsense"
            with self.assertRaisesRegex(ValueError, "`mesh-gateway peers` at that gateway prints its own"):
                MeshNetworkManager("alice")


if __name__ == "__main__":
    unittest.main()
