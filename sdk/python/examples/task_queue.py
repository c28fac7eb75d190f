"""A queue of tasks for two worker processes; one of them is killed, and the other does its tasks.

The dispatcher gives each worker a few tasks at a time. When the gateway says that a worker is no longer connected, its
open tasks go to the others. The lost worker may have done one without having said so: results are kept by the number of
the task, so that twice does no harm.

    python sdk/python/examples/task_queue.py
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, deque
from typing import Deque, Dict, Set

from own_gateway import arguments, gateway
from mesh_gateway import Message, MessageType, MeshNetworkManager, NoAnswerError

TASKS, AT_A_TIME, KILLED_AFTER = 24, 3, 4


def primes_below(n: int) -> int:
    return sum(all(k % d for d in range(2, int(k**0.5) + 1)) for k in range(2, n))


async def work(name: str, address: str) -> None:
    """A worker: each task is acknowledged when the next one is asked for, so that a lost one is not lost."""
    async with MeshNetworkManager(name, gateway=address) as mesh:
        async for task in mesh.messages():
            await mesh.reply(task, {"task": task.content["task"], "primes": primes_below(task.content["below"])})


class Dispatcher:
    """Who has which task."""

    def __init__(self, mesh: MeshNetworkManager, workers: "Dict[str, asyncio.subprocess.Process]") -> None:
        self.mesh = mesh
        self.workers = workers
        self.waiting: Deque[int] = deque(range(TASKS))
        self.open: Dict[str, Set[int]] = {name: set() for name in workers}
        self.results: Dict[int, int] = {}
        self.done_by: "Counter[str]" = Counter()

    async def run(self) -> None:
        killed = False
        while len(self.results) < TASKS:
            await self.give()
            try:
                message = await self.mesh.receive_message(timeout=0.2)
            except NoAnswerError:
                await self.look_for_lost()
                continue
            task = message.content["task"]
            self.open.get(message.sender, set()).discard(task)
            if task not in self.results:
                self.results[task] = message.content["primes"]
                self.done_by[message.sender] += 1
            if not killed and self.done_by["worker_002"] >= KILLED_AFTER:
                killed = True
                self.workers["worker_002"].kill()
                print(f"worker_002 is killed; {len(self.results)} of {TASKS} tasks are done")

    async def give(self) -> None:
        for name, has in self.open.items():
            while self.waiting and len(has) < AT_A_TIME:
                task = self.waiting.popleft()
                has.add(task)
                content = {"task": task, "below": 2000 + 500 * task}
                await self.mesh.submit(Message(MessageType.TASK, receiver=name, content=content))

    async def look_for_lost(self) -> None:
        here = {agent["name"] for agent in await self.mesh.get_agents() if agent.get("connected", True)}
        for name in [name for name in self.open if name not in here]:
            lost = self.open.pop(name)
            self.waiting.extend(sorted(lost))
            print(f"{name} is gone; others get its tasks {sorted(lost)}")


async def dispatch(address: str) -> None:
    workers = {}
    for name in ("worker_001", "worker_002"):
        command = [sys.executable, __file__, "--worker", name, "--gateway", address]
        workers[name] = await asyncio.create_subprocess_exec(*command)
    try:
        async with MeshNetworkManager("dispatcher", gateway=address) as mesh:
            while sum(agent.get("connected", True) for agent in await mesh.get_agents() if agent["name"] in workers) < len(workers):
                await asyncio.sleep(0.05)
            dispatcher = Dispatcher(mesh, workers)
            await dispatcher.run()
            right = all(dispatcher.results[n] == primes_below(2000 + 500 * n) for n in range(TASKS))
            print(f"all {len(dispatcher.results)} tasks are done, and right: {right}; by {dict(dispatcher.done_by)}")
    finally:
        for process in workers.values():
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def main() -> None:
    parser = arguments("A queue of tasks with worker processes, one of which is killed.")
    parser.add_argument("--worker", metavar="NAME", help="be a worker")
    told = parser.parse_args()
    if told.worker:
        await work(told.worker, told.gateway)
        return
    async with gateway(told.gateway) as address:
        await dispatch(address)


if __name__ == "__main__":
    asyncio.run(main())
