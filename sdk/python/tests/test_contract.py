"""The client says what agents say in the contract, and makes of what gateways say there what it means.

Owns who plays what: each line of the agent's is said by the call that a program would use, and each of the gateway's is looked
at where a program would see it. A line that nothing is known for fails.
"""

from __future__ import annotations

import asyncio
import base64
import os
import unittest
from collections import deque
from typing import Any, Awaitable, Callable, Deque, Dict, List, Set
from unittest import mock

from contract import Contract, Line
from scripted import FarEnd
from support import PATIENCE, within
from mesh_gateway import (
    BadRequestError, BusyError, MeshError, MeshNetworkManager, MeshRouter, Message, NameTakenError, NotStartedError, OverloadedError,
    Receipt, RefusedError, StorageError, TokenExpiredError, TooLargeError, UnauthorisedError, UnknownReceiverError, UnsupportedError,
)  # fmt: skip

Said = Dict[str, Any]

CONTRACT = Contract()
#: A session from its beginning.
WELCOME: Said = {**next(line.said for line in CONTRACT.words if line.said.get("ev") == "welcome"), "resumed_from": 0}
#: What is written in full or left out.
DEFAULTS = {"credits": 256, "priority": "MEDIUM", "durable": True, "receipt": "delivered", "cost": 1, "timeout_ms": 3000}
#: What an event among the words answers; those that are not here come by themselves.
ASKED: Dict[str, Said] = {
    "accepted": {"op": "send", "to": "bob", "type": "TASK", "text": ""},
    "receipt": {"op": "send", "to": "bob", "type": "TASK", "text": ""},
    "error": {"op": "ping"},
    "pong": {"op": "ping"},
    "done": {"op": "route_remove", "destination": "0x0005"},
    "subscribed": {"op": "subscribe", "groups": ["kitchen"]},
    "timeline": {"op": "why", "id": "0x0001/17"},
    "node_pong": {"op": "ping_node", "node": "0x0005"},
    "trace": {"op": "trace_node", "node": "0x0002"},
    **{op: {"op": op} for op in ("status", "peers", "health", "routes", "agents")},
}
#: What each code is raised as; the client does nothing special about the others.
RAISED = {
    "bad_request": BadRequestError, "unauthorised": UnauthorisedError, "name_taken": NameTakenError,
    "unknown_receiver": UnknownReceiverError, "too_large": TooLargeError, "busy": BusyError, "overloaded": OverloadedError,
    "storage": StorageError, "token_expired": TokenExpiredError,
    **dict.fromkeys(("not_welcome", "too_late", "no_credit", "conflict", "shutting_down", "no_network", "internal"), RefusedError),
}  # fmt: skip
#: The fields of events that are looked at one by one below; all others are compared as they are.
LOOKED_AT = {
    "accepted": "ref id durable at_us",
    "receipt": "cursor ref id outcome where why hops at_us detail",
    "message": "cursor id from to type priority reply_to hops at_us text data",
    "error": "ref code message fatal hint field",
    "subscribed": "ref groups",
    "goodbye": "why",
}


def body(said: Said) -> Any:
    """The content of a body; in the contract, no text is JSON."""
    return base64.b64decode(said["data"]) if "data" in said else said["text"]


def bare(said: Said) -> Said:
    """A request without what is left to the client: numbers, and defaults that may be written or not."""
    return {
        name: value
        for name, value in said.items()
        if name not in ("ref", "key") and not (name in DEFAULTS and value == DEFAULTS[name])
    }


class Play:
    """One connection, and the client on it."""

    def __init__(self, test: unittest.TestCase, far: FarEnd, lines: List[Line]) -> None:
        self.test, self.far, self.lines = test, far, lines
        self.mesh = MeshNetworkManager("nobody")
        # The client's number for each of the contract's, and of requests that have none there.
        self.numbers: Dict[int, int] = {}
        self.unnumbered: Deque[int] = deque()
        # What waits for an answer, by the client's number.
        self.asked: Dict[int, asyncio.Task[Any]] = {}
        self.receipts: Dict[int, Receipt] = {}
        self.of_message: Dict[str, int] = {}
        self.taken: Dict[str, Message] = {}
        self.ends: List[asyncio.Task[None]] = []
        self.fatal: Said = {}
        self.played: Set[int] = set()

    async def run(self) -> Set[int]:
        """Plays all lines; the numbers of those that were."""
        first = self.lines[0]
        if not first.connection:
            await self.before(first.said)
        elif first.said.get("op") != "hello":
            # The client begins as it should, and is refused all the same.
            await self.hello({"op": "hello", "name": "stranger"})
            self.played.add(self.lines.pop(0).number)
        for line in self.lines:
            if line.agents:
                await (self.wrong(line.said) if line.wrong else self.agent_says(line))
            else:
                await self.gateway_says(line.said)
            self.played.add(line.number)
        await self.end()
        return self.played

    async def before(self, said: Said) -> None:
        """What comes before a word."""
        if said.get("op") == "hello":
            return
        await self.hello({"op": "hello", "name": "alice"})
        event = said.get("ev", "")
        if event == "welcome":
            return
        await self.gateway_says(WELCOME)
        if event in ASKED and not said.get("fatal"):
            same: Said = {name: said[name] for name in ("ref", "durable") if name in said}
            await self.agent_says(Line(0, "", True, {**ASKED[event], **same}, False))
        if event == "receipt":
            accepted = {"ev": "accepted", "id": said["id"], "durable": True, "at_us": 8}
            await self.gateway_says({**accepted, "ref": said["ref"]} if "ref" in said else accepted)

    async def end(self) -> None:
        if self.fatal:
            self.far.writer.close()
            self.refused(self.fatal, await within(self.failure()))
        self.starting.cancel()
        ending = asyncio.gather(self.mesh.stop(), *self.ends)
        self.far.writer.close()
        await within(ending)
        await within(asyncio.gather(self.starting, *self.asked.values(), return_exceptions=True))

    async def failure(self) -> MeshError:
        """Why there is no session any more."""
        while self.agent.failure is None or isinstance(self.agent.failure, NotStartedError):
            await asyncio.sleep(0)
        return self.agent.failure

    # ---- the agent's lines ----

    async def hears(self, wanted: Said) -> Said:
        """The next request, which must be this one; the client acknowledges, and looks after peers, when it likes."""
        while True:
            heard = await self.far.hear()
            if bare(heard) == bare(wanted):
                # A durable message has a key, and it is its number.
                durable = heard["op"] == "send" and heard.get("durable", True)
                self.test.assertEqual(heard.get("key"), heard["ref"] if durable else None)
                return heard
            self.test.assertIn(heard["op"], ("ack", "credit", "peers"), f"the client should say {wanted}, and says {heard}")

    async def agent_says(self, line: Line) -> None:
        said = line.said
        op = said["op"]
        if op == "send":
            await self.send(line)
        elif op in self.OTHERS:
            await self.OTHERS[op](self, said)
        else:
            await self.ask(said, self.call(said))

    async def ask(self, said: Said, call: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(call)
        heard = await self.hears(said)
        self.asked[heard["ref"]] = task
        if "ref" in said:
            self.numbers[said["ref"]] = heard["ref"]
        else:
            self.unnumbered.append(heard["ref"])

    def call(self, said: Said) -> Awaitable[Any]:
        """What a program calls to say it."""
        mesh, op = self.mesh, said["op"]
        if op in ("status", "health", "ping"):
            return mesh.agent.ask(op)
        if op == "peers":
            return mesh.get_peers()
        if op == "why":
            return mesh.why(said["id"])
        if op in ("ping_node", "trace_node"):
            ask = mesh.ping_node if op == "ping_node" else mesh.trace_node
            return ask(said["node"], said.get("timeout_ms", DEFAULTS["timeout_ms"]) / 1000)
        if op == "agents":
            return mesh.get_agents()
        if op == "routes":
            return MeshRouter(mesh).fetch_routing_table()
        if op == "link_add":
            host, _, port = said["address"].rpartition(":")
            return mesh.add_peer(said["name"], host, int(port), fingerprint=said.get("fingerprint"))
        if op == "link_remove":
            return mesh.remove_peer(said["name"])
        if op == "route_add":
            MeshRouter(mesh).update_route(said["destination"], said["next_hop"], said.get("cost", 1))
            return MeshRouter(mesh).flush()
        if op == "route_remove":
            MeshRouter(mesh).remove_route(said["destination"])
            return MeshRouter(mesh).flush()
        if op == "agent_forget":
            return mesh.agent.ask(op, name=said["name"])
        if op == "subscribe":
            return mesh.join_group(*said["groups"], types=said.get("types"))
        if op == "unsubscribe":
            return mesh.leave_group(*said["groups"])
        raise AssertionError(f"the client has no way to say {said}")

    async def wrong(self, said: Said) -> None:
        """The client cannot say this: it says something else, and gets the answer to this."""
        await self.ask({"op": "ping", "ref": said["ref"]}, self.mesh.agent.ask("ping"))

    async def hello(self, said: Said) -> None:
        mesh = MeshNetworkManager(
            said.get("name"), gateway=self.far.address, token=said.get("token"), credits=said.get("credits", 256), live=False
        )
        # Who is refused at the start has a new session to start with.
        self.mesh, self.agent = mesh, mesh.agent
        self.starting = asyncio.create_task(mesh.start())
        await self.far.answer()
        if "resume" in said:
            # Whoever resumes was here before, and went on behind that very cursor.
            await self.hears({name: value for name, value in said.items() if name != "resume"})
            self.far.say({**WELCOME, "resumed_from": said["resume"], "credits": said.get("credits", 256)})
            await within(self.starting)
            self.far.writer.close()
            await self.far.answer()
        await self.hears(said)

    async def send(self, line: Line) -> None:
        said, mesh = line.said, self.mesh
        message = Message(
            said["type"], receiver=said["to"], content=body(said), priority=said.get("priority", "MEDIUM"),
            reply_to=said.get("reply_to"), deadline_ms=said.get("deadline_ms"), durable=said.get("durable", True),
            processed=said.get("receipt") == "processed",
        )  # fmt: skip
        call: Awaitable[Any]
        if self.has_answer(line):
            call = mesh.send_and_wait(message)
        elif message.reply_to in self.taken:
            call = mesh.reply(self.taken[message.reply_to], message.content, durable=message.durable)
        else:
            call = mesh.send_message(message)
        await self.ask(said, call)
        number = self.numbers[said["ref"]] if "ref" in said else self.unnumbered[-1]
        self.receipts[number] = mesh.agent.sends.table[number]

    def has_answer(self, line: Line) -> bool:
        """Whether an agent answers it on this connection."""
        ids = [
            other.said["id"] for other in self.lines
            if other.said.get("ev") == "accepted" and other.said.get("ref") == line.said.get("ref")
        ]  # fmt: skip
        return any(other.said.get("ev") == "message" and other.said.get("reply_to") in ids for other in self.lines)

    async def ack(self, said: Said) -> None:
        if not self.taken:
            for cursor in range(1, said["cursor"] + 1):
                await self.message({**self.any_message(), "cursor": cursor, "id": f"0x0003/{cursor}"})
        for message in self.taken.values():
            self.mesh.acknowledge(message)
        await self.hears(said)

    async def credit(self, said: Said) -> None:
        # It gives back what it took, and what had no cursor needs no acknowledgement.
        self.far.say(*({**self.any_message(), "id": f"0x0003/{n}"} for n in range(said["n"])))
        for _ in range(said["n"]):
            await self.mesh.receive_message(PATIENCE)
        granted = 0
        while granted < said["n"]:
            heard = await self.far.hear()
            self.test.assertEqual(heard, {"op": "credit", "n": heard["n"]})
            granted += heard["n"]
        self.test.assertEqual(granted, said["n"])

    def any_message(self) -> Said:
        said = next(line.said for line in CONTRACT.words if line.said.get("ev") == "message")
        return {name: value for name, value in said.items() if name not in ("cursor", "reply_to")}

    async def bye(self, said: Said) -> None:
        self.ends.append(asyncio.create_task(self.mesh.stop()))
        await self.hears(said)

    OTHERS: Dict[str, Callable[[Any, Said], Awaitable[None]]] = {"hello": hello, "ack": ack, "credit": credit, "bye": bye}

    # ---- the gateway's lines ----

    async def gateway_says(self, said: Said) -> None:
        event = said["ev"]
        if event in LOOKED_AT:
            self.test.assertLessEqual(set(said), {"ev", *LOOKED_AT[event].split()}, "a field that nobody looks at")
        if event in self.EVENTS:
            await self.EVENTS[event](self, said)
        else:
            await self.answer(said)

    def numbered(self, said: Said) -> int:
        """The client's number for what is answered. It always has one, so that one always comes back."""
        return self.numbers[said["ref"]] if "ref" in said else self.unnumbered.popleft()

    async def answer(self, said: Said) -> None:
        """The answer to a question."""
        event = said["ev"]
        number = self.numbered(said)
        self.far.say({**said, "ref": number})
        told = await within(self.asked.pop(number))
        wanted: Any = {name: value for name, value in said.items() if name not in ("ev", "ref")}
        if event in ("agents", "routes"):
            wanted = said[event]
        elif event == "done":
            wanted = None
        elif event in ("status", "health", "pong"):
            wanted = {**said, "ref": number}
        else:
            self.test.assertIn(event, ("peers", "timeline", "node_pong", "trace"), f"nothing is known of {said}")
        self.test.assertEqual(told, wanted)

    async def welcome(self, said: Said) -> None:
        self.far.say(said)
        await within(self.starting)
        while self.mesh.agent.welcome != said:
            await asyncio.sleep(0)
        self.test.assertEqual((self.mesh.node, self.mesh.connected), (said["node"], True))

    async def accepted(self, said: Said) -> None:
        number = self.numbered(said)
        self.of_message.setdefault(said["id"], number)
        self.far.say({**said, "ref": number})
        receipt = await within(self.receipts[number].accepted())
        self.test.assertEqual((receipt.id, receipt.durable, receipt.is_accepted), (said["id"], said["durable"], True))

    async def receipt(self, said: Said) -> None:
        number = self.of_message[said["id"]]
        self.far.say({**said, "ref": number})
        receipt = self.receipts[number]
        if receipt.done:
            self.test.assertEqual(await within(receipt.processed()), said["outcome"])
            return
        self.test.assertEqual(await within(receipt.outcome()), said["outcome"])
        told = receipt.id, receipt.where, receipt.why, receipt.hops, receipt.detail
        wanted = (said["id"], *(said.get(field) for field in ("where", "why", "hops", "detail")))
        self.test.assertEqual(told, wanted)

    async def message(self, said: Said) -> None:
        self.far.say(said)
        asked = self.of_message.get(said.get("reply_to", ""))
        if asked is not None:
            message = await within(self.asked.pop(asked))
        else:
            message = await self.mesh.receive_message(PATIENCE, auto_ack=False)
            self.taken[message.id] = message
        sender, receiver = (said[end].partition("@")[0] for end in ("from", "to"))
        told = (
            message.id, message.cursor, message.source, message.sender, message.receiver, message.type, message.priority,
            message.reply_to, message.hops, message.at_us, message.content,
        )  # fmt: skip
        wanted = (
            said["id"], said.get("cursor"), said["from"], sender, receiver, said["type"], said["priority"],
            said.get("reply_to"), said["hops"], said["at_us"], body(said),
        )  # fmt: skip
        self.test.assertEqual(told, wanted)

    async def error(self, said: Said) -> None:
        if said["fatal"]:
            self.far.say(said)
            self.fatal = said
            return
        number = self.numbered(said)
        self.far.say({**said, "ref": number})
        with self.test.assertRaises(MeshError) as caught:
            await within(self.asked.pop(number))
        self.refused(said, caught.exception)

    def refused(self, said: Said, error: MeshError) -> None:
        """Whether this is the exception for it."""
        unknown = "unknown field" in said["message"] or "unknown variant" in said["message"]
        self.test.assertIs(type(error), UnsupportedError if unknown else RAISED[said["code"]])
        told = (error.code, error.hint, error.field)
        self.test.assertEqual(told, (said["code"], said.get("hint", ""), said.get("field", "")))
        if not unknown:
            self.test.assertIn(said["message"], str(error))

    async def subscribed(self, said: Said) -> None:
        number = self.numbered(said)
        self.far.say({**said, "ref": number})
        self.test.assertEqual(await within(self.asked.pop(number)), said["groups"])

    async def goodbye(self, said: Said) -> None:
        if self.ends or self.fatal:
            self.far.say(said)
            self.far.writer.close()
            return
        with self.test.assertLogs("mesh_gateway.agent", "WARNING") as told:
            self.far.say(said)
            while self.mesh.connected:
                await asyncio.sleep(0)
        self.test.assertIn(f"it said goodbye ({said['why']})", told.output[0])

    EVENTS: Dict[str, Callable[[Any, Said], Awaitable[None]]] = {
        "welcome": welcome, "accepted": accepted, "receipt": receipt, "message": message, "error": error,
        "subscribed": subscribed, "goodbye": goodbye,
    }  # fmt: skip


class Held(unittest.IsolatedAsyncioTestCase):
    async def test_the_client_says_and_understands_every_line_of_the_contract(self) -> None:
        played: Set[int] = set()
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MESH_GATEWAY")}
        with mock.patch.dict(os.environ, plain, clear=True):
            for lines in CONTRACT.connections():
                with self.subTest(str(lines[0])):
                    far = FarEnd()
                    await far.open()
                    try:
                        played |= await Play(self, far, list(lines)).run()
                    finally:
                        far.close()
        everything = [*CONTRACT.words, *(line for lines in CONTRACT.transcripts.values() for line in lines)]
        self.assertEqual([str(line) for line in everything if line.number not in played], [])
        # Whoever reads no file holds nothing.
        self.assertLessEqual({"hello", "send", "ack", "subscribe"}, {line.said["op"] for line in everything if line.agents})


if __name__ == "__main__":
    unittest.main()
