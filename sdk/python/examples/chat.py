"""A chat: everyone in a room hears what is said there, and one can whisper to another.

By itself it plays a short conversation. With a name it is a chat to type in, also across several machines:

    python sdk/python/examples/chat.py
    python sdk/python/examples/chat.py --as alice --gateway 127.0.0.1:7700      then type; /bob hello  whispers to bob
"""

from __future__ import annotations

import asyncio
import sys
from typing import List

from own_gateway import arguments, gateway
from mesh_gateway import MeshError, MeshNetworkManager, Message, MessageType, Priority, printable

ROOM = "lobby"
SCRIPT = [
    ("alice", "", "good morning, is anyone on the ridge?"),
    ("bob", "", "yes, the wind is picking up"),
    ("carol", "alice", "do not tell bob, but his tent is gone"),
    ("alice", "bob", "look behind you"),
]


class Chatter:
    """One who chats: prints what it hears."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.mesh = MeshNetworkManager(name, gateway=address)
        self.heard: "asyncio.Queue[str]" = asyncio.Queue()

    async def enter(self) -> None:
        await self.mesh.start()
        self.mesh.subscribe(MessageType.NOTIFICATION, self.hear)
        await self.mesh.join_group(ROOM)

    def hear(self, message: Message) -> None:
        whispered = "" if message.receiver.startswith("group:") else " (whispers)"
        print(f"  [{self.name} hears] {message.sender}{whispered}: {printable(str(message.content), sys.stdout.encoding)}", flush=True)
        self.heard.put_nowait(message.content)

    async def say(self, text: str, to: str = "") -> None:
        receipt = await self.mesh.send_message(
            Message(MessageType.NOTIFICATION, receiver=to or f"group:{ROOM}", content=text, priority=Priority.HIGH)
        )
        if to and not (await receipt.outcome(timeout=30)).good:
            print(f"  {to} did not get it: {receipt.state} {receipt.why or ''}", flush=True)


async def play(address: str) -> None:
    names = ["alice", "bob", "carol"]
    everyone = {name: Chatter(name, address) for name in names}
    for chatter in everyone.values():
        await chatter.enter()
    for speaker, to, text in SCRIPT:
        print(f"{speaker}{' to ' + to if to else ''}: {text}")
        await everyone[speaker].say(text, to)
        hearers: List[str] = [to] if to else [name for name in names if name != speaker]
        for name in hearers:
            assert await everyone[name].heard.get() == text
    for chatter in everyone.values():
        await chatter.mesh.stop()


async def chat(name: str, address: str) -> None:
    chatter = Chatter(name, address)
    await chatter.enter()
    print(f"{name} is in the {ROOM}; /NAME TEXT whispers, an empty end of input leaves", flush=True)
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            break
        to, text = "", line.strip()
        if text.startswith("/"):
            to, _, text = text[1:].partition(" ")
        try:
            if text:
                await chatter.say(text, to)
        except (MeshError, ValueError) as why:
            print(f"  {why}", flush=True)
    await chatter.mesh.stop()


async def main() -> None:
    parser = arguments("A chat over the mesh.")
    parser.add_argument("--as", dest="name", help="chat under this name instead of playing a conversation")
    told = parser.parse_args()
    async with gateway(told.gateway) as address:
        await (chat(told.name, address) if told.name else play(address))


if __name__ == "__main__":
    asyncio.run(main())
