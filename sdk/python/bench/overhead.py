"""What the client costs for each message, beside bare asyncio streams with ``json``, in one run against one gateway.

Owns all sides of the comparison. Each sends the same messages from one agent to another on the same gateway, with as
many in flight, and waits for every *accepted*, every receipt and every message, acknowledged and its content decoded.
The bare side writes and reads line by line and keeps a table of what is in flight; it has no reconnecting, no typed
messages, no bounds. The batched side is the same with all lines of a turn written at once, and all that have come read at
once, as the client does it. Rounds alternate, and the best of each is compared: processor time of this process, and wall time.

    python sdk/python/bench/overhead.py [--messages 20000] [--rounds 5] [--gateway unix:PATH]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple, Type, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mesh_gateway import MeshNetworkManager, Message, MessageType, Outcome, Priority, SimulatedGateway  # noqa: E402
from mesh_gateway.endpoint import find_endpoint  # noqa: E402

Side = TypeVar("Side", bound="Bare")

#: As many in flight on all sides: one window of credits.
WINDOW = 256
CONTENT: Dict[str, Any] = {"step": 17, "gradients": [0.125, -2.5, 3.75, 0.0625], "layer": "dense_1", "final": False}


class Bare:
    """An agent on asyncio streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls: Type[Side], gateway: str, name: str) -> Side:
        endpoint = find_endpoint(gateway)
        limit = 2 * 1024 * 1024
        if endpoint.path:
            reader, writer = await asyncio.open_unix_connection(endpoint.path, limit=limit)
        else:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=limit)
        bare = cls(reader, writer)
        bare.write({"op": "hello", "name": name})
        assert (await bare.events())[0]["ev"] == "welcome"
        return bare

    def write(self, request: Dict[str, Any]) -> None:
        self.writer.write(json.dumps(request).encode() + b"\n")

    async def events(self) -> List[Dict[str, Any]]:
        await self.writer.drain()
        return [json.loads(await self.reader.readline())]

    async def send_all(self, to: str, count: int) -> None:
        accepted: Set[int] = set()
        in_flight: Set[int] = set()
        sent = completed = 0
        while completed < count:
            while sent < count and len(in_flight) < WINDOW:
                sent += 1
                in_flight.add(sent)
                self.write(
                    {"op": "send", "ref": sent, "to": to, "type": "PARAMETER_UPDATE", "priority": "HIGH",
                     "text": json.dumps(CONTENT)}
                )  # fmt: skip
            for event in await self.events():
                if event["ev"] == "accepted":
                    accepted.add(event["ref"])
                elif event["ev"] == "receipt" and event["ref"] in in_flight:
                    assert event["outcome"] == "delivered" and event["ref"] in accepted
                    in_flight.remove(event["ref"])
                    completed += 1
                    if completed % 64 == 0 or completed == count:
                        self.write({"op": "ack", "cursor": event["cursor"]})

    async def receive_all(self, count: int) -> None:
        got = 0
        while got < count:
            for event in await self.events():
                if event["ev"] == "message":
                    assert json.loads(event["text"])["step"] == 17
                    got += 1
                    if got % 64 == 0 or got == count:
                        self.write({"op": "ack", "cursor": event["cursor"]})
                        self.write({"op": "credit", "n": 64})

    async def close(self) -> None:
        self.write({"op": "bye"})
        while (await self.events())[-1]["ev"] != "goodbye":
            pass
        self.writer.close()


class Batched(Bare):
    """The same in batches."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.lines: List[str] = []
        self.partial = b""

    def write(self, request: Dict[str, Any]) -> None:
        self.lines.append(json.dumps(request))

    async def events(self) -> List[Dict[str, Any]]:
        if self.lines:
            self.lines.append("")
            self.writer.write("\n".join(self.lines).encode())
            self.lines.clear()
        await self.writer.drain()
        while b"\n" not in self.partial:
            data = await self.reader.read(1 << 18)
            assert data, "the gateway has gone"
            self.partial += data
        *whole, self.partial = self.partial.split(b"\n")
        return [json.loads(line) for line in whole]


async def streams(side: Type[Bare], gateway: str, count: int) -> None:
    """A round on asyncio streams."""
    alice, bob = await side.connect(gateway, "bare-alice"), await side.connect(gateway, "bare-bob")
    await asyncio.gather(alice.send_all("bare-bob", count), bob.receive_all(count))
    await alice.close()
    await bob.close()


async def bare(gateway: str, count: int) -> None:
    """Line by line."""
    await streams(Bare, gateway, count)


async def batched(gateway: str, count: int) -> None:
    """In batches."""
    await streams(Batched, gateway, count)


async def client(gateway: str, count: int) -> None:
    """A round with the client, as a program would write it."""
    async with MeshNetworkManager("sdk-alice", gateway=gateway) as alice, MeshNetworkManager("sdk-bob", gateway=gateway) as bob:

        async def send() -> None:
            sent = 0
            while sent < count:
                some = min(WINDOW, count - sent)
                receipts = [
                    await alice.submit(
                        Message(
                            type=MessageType.PARAMETER_UPDATE, sender="sdk-alice", receiver="sdk-bob", content=CONTENT,
                            priority=Priority.HIGH,
                        )
                    )
                    for _ in range(some)
                ]  # fmt: skip
                for receipt in receipts:
                    assert await receipt.outcome() is Outcome.DELIVERED
                sent += some

        async def receive() -> None:
            for _ in range(count):
                message = await bob.receive_message()
                assert message.content["step"] == 17

        await asyncio.gather(send(), receive())


async def timed(work: Any, gateway: str, count: int) -> Tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    await work(gateway, count)
    return time.process_time() - processor, time.perf_counter() - wall


async def compare(gateway: str, count: int, rounds: int) -> None:
    sides = {"bare": bare, "batched": batched, "client": client}
    figures: Dict[str, List[Tuple[float, float]]] = {name: [] for name in sides}
    for side in sides.values():
        await side(gateway, 500)
    for _ in range(rounds):
        for name, side in sides.items():
            figures[name].append(await timed(side, gateway, count))
    print(f"{count} messages a round, {rounds} rounds, {WINDOW} in flight; microseconds a message, best (median)")
    best: Dict[str, Tuple[float, float]] = {}
    for name, rows in figures.items():
        processor = [row[0] / count * 1e6 for row in rows]
        wall = [row[1] / count * 1e6 for row in rows]
        best[name] = min(processor), min(wall)
        print(
            f"{name:7} processor {min(processor):7.1f} ({statistics.median(processor):.1f})   "
            f"wall {min(wall):7.1f} ({statistics.median(wall):.1f})"
        )
    for name in ("bare", "batched"):
        ratios = [ours / theirs for ours, theirs in zip(best["client"], best[name])]
        print(f"client to {name:7}: processor {ratios[0]:.2f}, wall {ratios[1]:.2f}")


async def main(gateway: Optional[str], count: int, rounds: int) -> None:
    if gateway is not None:
        await compare(gateway, count, rounds)
    else:
        async with SimulatedGateway(nodes=1) as own:
            await compare(own.endpoint, count, rounds)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="What the client costs for each message, beside asyncio streams.")
    arguments.add_argument("--messages", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--gateway", help="HOST:PORT or unix:PATH [default: one is started]")
    told = arguments.parse_args()
    asyncio.run(main(told.gateway, told.messages, told.rounds))
