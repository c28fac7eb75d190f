"""A trainer sends gradients to two workers, which apply them and answer with their loss.

    python sdk/python/examples/trainer.py
"""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List

from own_gateway import arguments, gateway
from mesh_gateway import Message, MessageType, MeshNetworkManager, Priority

STEPS, RATE = 8, 0.1
# Each worker holds a part of the data: points of y = 3 x - 1.
SHARDS: Dict[str, List[float]] = {"worker_001": [-1.0, 0.5, 2.0], "worker_002": [-2.0, 0.0, 1.5]}


def loss_and_gradients(weights: List[float], shard: List[float]) -> Any:
    errors = [(weights[0] * x + weights[1] - (3 * x - 1), x) for x in shard]
    loss = sum(error**2 for error, _ in errors) / len(shard)
    return loss, [2 * sum(e * x for e, x in errors) / len(shard), 2 * sum(e for e, _ in errors) / len(shard)]


async def work(name: str, address: str, stop: asyncio.Event) -> List[float]:
    weights = [0.0, 0.0]
    async with MeshNetworkManager(name, gateway=address) as mesh:

        async def update(message: Message) -> None:
            for n, gradient in enumerate(message.content["gradients"]):
                weights[n] -= RATE * gradient
            loss, own = loss_and_gradients(weights, SHARDS[name])
            await mesh.reply(message, {"loss": loss, "gradients": own})

        mesh.subscribe(MessageType.PARAMETER_UPDATE, update)
        await stop.wait()
    return weights


async def train(address: str) -> None:
    async with MeshNetworkManager("trainer", gateway=address) as mesh:
        gradients = [0.0, 0.0]
        for step in range(STEPS):
            updates = [
                Message(
                    type=MessageType.PARAMETER_UPDATE, sender="trainer", receiver=worker,
                    content={"step": step, "gradients": gradients}, priority=Priority.HIGH,
                )
                for worker in SHARDS
            ]  # fmt: skip
            answers = await asyncio.gather(*(mesh.send_and_wait(update) for update in updates))
            told = {answer.sender: answer.content for answer in answers}
            gradients = [sum(each["gradients"][n] for each in told.values()) / len(told) for n in range(2)]
            losses = "  ".join(f"{worker} {content['loss']:7.3f}" for worker, content in told.items())
            print(f"step {step}: loss {losses}")
        health = (await mesh.fetch_network_statistics())["network_health"]
        rate, latency = health["success_rate"], health["average_latency_ms"]
        arrived = "nothing was measured" if rate is None else f"{rate:.0%} arrived"
        print(f"{health['settled']} messages, {arrived}" + (f", {latency:.1f} ms on average" if latency else " on this gateway"))


async def main() -> None:
    told = arguments("A trainer sends gradients to two workers.").parse_args()
    async with gateway(told.gateway) as address:
        stop = asyncio.Event()
        workers = [asyncio.create_task(work(name, address, stop)) for name in SHARDS]
        await train(address)
        stop.set()
        first, second = await asyncio.gather(*workers)
        print(f"both workers have the same weights: {first == second} ({first[0]:.2f}, {first[1]:.2f})")


if __name__ == "__main__":
    asyncio.run(main())
