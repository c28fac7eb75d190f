"""What is printed: a message drives no terminal, forges no line, and is shown in any encoding, or is at least taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
import unittest
from typing import Any, Dict, List
from unittest import mock

from scripted import ScriptedGateway
from support import PATIENCE, SOURCE, within
from mesh_gateway import BadRequestError, MeshNetworkManager, Message, Receipt, SimulatedGateway, SyncMesh, printable

#: Colours, a title, a forged line, a bell, a reversed file name, an old control character, half a letter, and what cp1252 lacks.
NASTY = "\x1b[31mred\x1b]0;title\x07\nalice TASK HIGH forged\r\u202etxt.exe\x9b2J\ud800\u2028 grüße \U0001f525"


class Printable(unittest.TestCase):
    def test_no_character_is_left_that_a_terminal_obeys_and_each_can_be_encoded(self) -> None:
        for encoding in ("utf-8", "cp1252", "ascii", "cp437", "shift_jis", "latin-1"):
            for code in range(sys.maxunicode + 1) if encoding == "utf-8" else range(0x3000):
                told = printable(chr(code), encoding)
                told.encode(encoding)
                if len(told) == 1 and told not in "\u200c\u200d":
                    self.assertNotIn(unicodedata.category(told)[0] + unicodedata.category(told), ("CCc", "CCf", "CCs", "ZZl", "ZZp"), hex(code))
        self.assertEqual(printable(NASTY, "cp1252"), r"\x1b[31mred\x1b]0;title\x07\nalice TASK HIGH forged\r\u202etxt.exe\x9b2J\ud800\u2028 grüße \U0001f525")
        self.assertEqual(printable("grüße\u3000家族 👨\u200d👩"), "grüße\u3000家族 👨\u200d👩")


class Commands(unittest.TestCase):
    gateway: SimulatedGateway

    @classmethod
    def setUpClass(cls) -> None:
        cls.gateway = SimulatedGateway(nodes=4).start_blocking()
        cls.addClassCleanup(cls.gateway.stop_blocking)

    def run_command(self, *arguments: str, encoding: str = "utf-8", **how: Any) -> "subprocess.CompletedProcess[bytes]":
        environment: Dict[str, str] = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": encoding}
        environment["MESH_GATEWAY"] = self.gateway.endpoint
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.run([sys.executable, "-m", "mesh_gateway", *arguments], env=environment, timeout=PATIENCE, **how)

    def send(self, name: str, *contents: Any) -> None:
        with SyncMesh(name, gateway=self.gateway.endpoint):
            pass
        with SyncMesh("alice", gateway=self.gateway.endpoint) as alice:
            for content in contents:
                alice.send_message(Message("TASK", receiver=name, content=content)).outcome(PATIENCE)

    def test_a_message_that_the_console_cannot_show_does_not_block_the_inbox(self) -> None:
        nasty = NASTY.replace("\ud800", "")
        for encoding in ("cp1252", "ascii", "utf-8"):
            self.send("bob", nasty, {"deep": nasty}, "next")
            done = self.run_command("listen", "--as", "bob", "--count", "3", encoding=encoding)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            lines = done.stdout.decode(encoding).split("\n")
            self.assertEqual(len(lines), 4, "each message is one line")
            self.assertEqual(lines[2].split(" ", 3)[3], "next")
            self.assertFalse(set("\x1b\x07\r\x9b\u202e\u2028") & set("".join(lines)))
            self.assertIn(r"\x1b[31mred", lines[0])
            self.assertIn(r'{"deep": "\u001b[31mred', lines[1])
            self.send("bob", nasty)
            done = self.run_command("listen", "--as", "bob", "--count", "1", "--json", encoding=encoding)
            self.assertEqual(json.loads(done.stdout)["content"], nasty)
            self.assertTrue(done.stdout.isascii())

    def test_half_a_letter_and_a_number_without_end_are_taken_too(self) -> None:
        # Bodies of programs in other languages: valid JSON, and no text or number that Python writes again.
        self.send("bob", "placeholder")
        with mock.patch("mesh_gateway.sends.body_field", lambda content, limit: f'"text":{json.dumps(content)}'):
            self.send("bob", '"\\ud800"', "[1e999]", "[" * 900 + "]" * 900, "next")
        for more in ([], ["--json"]):
            done = self.run_command("listen", "--as", "bob", "--count", "5" if not more else "1", *more)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(len(done.stdout.splitlines()), 5 if not more else 1)
            if not more:
                self.assertTrue(done.stdout.decode().splitlines()[-1].endswith(" next"))
                with mock.patch("mesh_gateway.sends.body_field", lambda content, limit: f'"text":{json.dumps(content)}'):
                    self.send("bob", "[1e999]")
        self.assertIn("unshown", json.loads(done.stdout))

    def test_what_nobody_could_be_shown_comes_again(self) -> None:
        self.send("carol", "one")
        with open("/dev/full", "wb") as nowhere:
            full = self.run_command("listen", "--as", "carol", "--count", "1", stdout=nowhere)
        self.assertEqual(full.returncode, 1)
        self.assertIn(b"No space left", full.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        gone = self.run_command("listen", "--as", "carol", "--count", "1", stdout=writer)
        os.close(writer)
        self.assertEqual((gone.returncode, gone.stderr), (1, b"error: standard output was closed by its reader\n"))
        again = self.run_command("listen", "--as", "carol", "--count", "1")
        self.assertTrue(again.stdout.decode().endswith(" one\n"), again)

    def test_the_answer_to_a_question_drives_no_terminal_either(self) -> None:
        asked = NASTY.replace("\ud800", "")
        for encoding in ("cp1252", "utf-8"):
            done = self.run_command("query", "--to", "echo", asked, encoding=encoding)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(done.stdout.decode(encoding), printable(asked, encoding) + "\n")

    def test_the_bytes_of_an_answer_are_printed_only_where_that_is_asked_for(self) -> None:
        text = NASTY.replace("\ud800", "")
        for asked, shown, answer in [
            (text.encode(), printable(text, "utf-8"), text.encode()),
            (b"\x00\xff\x1b[2J", "data:AP8bWzJK", b"\x00\xff\x1b[2J"),
            # The echo has it as this client writes JSON, and says the same.
            (b'{"a" : 1}', '{"a": 1}', b'{"a":1}'),
        ]:  # fmt: skip
            for raw, told in (([], shown.encode() + b"\n"), (["--raw"], answer)):
                done = self.run_command("query", "--to", "echo", *raw, "-", input=asked)
                self.assertEqual((done.returncode, done.stderr, done.stdout), (0, b"", told))
        done = self.run_command("query", "--to", "echo", "--raw", "--json", "-", input=text.encode())
        self.assertEqual(json.loads(done.stdout)["content"], text)


class Counts(unittest.TestCase):
    """How many nodes have a message to a group or everyone."""

    def receipt(self, **detail: int) -> Receipt:
        receipt = Receipt(Message("NOTIFICATION", receiver="everyone", content="fire"), 1, "")
        sent = {"id": "0x0001/17", "outcome": "sent", "at_us": 9}
        receipt.take_accepted(sent)
        receipt.take_receipt({**sent, "detail": detail} if detail else sent)
        return receipt

    def test_counts_are_said_in_the_words_of_the_gateways_own_command(self) -> None:
        for detail, counts, text in (
            ({"reached": 12, "known": 14}, (12, 14), "reached at least 12 of 14 known nodes"),
            ({"reached": 1, "known": 1}, (1, 1), "reached at least 1 of 1 known node"),
            ({"reached": 1}, (1, None), "reached at least 1 node"),
            ({"reached": 3}, (3, None), "reached at least 3 nodes"),
        ):
            receipt = self.receipt(**detail)
            self.assertEqual(((receipt.reached, receipt.known), receipt.reached_text), (counts, text))
            self.assertEqual(repr(receipt), f"<Receipt 0x0001/17 sent; {text}>")

    def test_nothing_is_said_where_nothing_was_counted(self) -> None:
        receipt = self.receipt()
        self.assertEqual((receipt.reached, receipt.known, receipt.reached_text), (None, None, ""))
        self.assertEqual(repr(receipt), "<Receipt 0x0001/17 sent>")


class Words(unittest.IsolatedAsyncioTestCase):
    async def test_the_words_of_others_forge_no_line_in_logs_and_errors(self) -> None:
        forged = "full\n2026-01-01 ERROR root: everything is lost\x1b[2J"

        def answers(request: Dict[str, Any]) -> List[Dict[str, Any]]:
            if request["op"] != "send":
                return []
            if request["text"] == "refused":
                return [{"ev": "error", "code": "bad_request", "message": forged, "hint": forged, "fatal": False}]
            receipt = {"ev": "receipt", "cursor": 1, "id": "0x0001/1", "outcome": "rejected", "where": "0x0002", "why": forged}
            return [{"ev": "accepted", "id": "0x0001/1", "durable": True}, receipt]

        with self.assertLogs("mesh_gateway", "DEBUG") as told:
            async with ScriptedGateway(answers) as gateway, MeshNetworkManager("alice", gateway=gateway.endpoint, live=False) as alice:
                receipt = await within(alice.send_message(Message("TASK", receiver="bob", content="rejected")))
                await within(receipt.outcome())
                with self.assertRaises(BadRequestError) as caught:
                    await within(alice.send_message(Message("TASK", receiver="bob", content="refused")))
        for text in (*told.output, receipt.why or "", str(caught.exception)):
            self.assertNotRegex(text, "[\n\x1b]")
        self.assertIn(r"full\n2026", receipt.why or "")


if __name__ == "__main__":
    unittest.main()
