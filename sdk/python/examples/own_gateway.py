"""What the examples share: the gateway that was told, or one on a simulated air for as long as the example runs.

Owns finding the package too, so that an example runs from a checkout without installing anything.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mesh_gateway import SimulatedGateway  # noqa: E402


def arguments(told: str) -> argparse.ArgumentParser:
    """The arguments that all examples have."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--gateway", default=os.environ.get("MESH_GATEWAY"), help="HOST:PORT or unix:PATH [default: one is started]")
    return parser


@asynccontextmanager
async def gateway(told: Optional[str]) -> AsyncIterator[str]:
    """Where to connect."""
    if told:
        yield told
        return
    async with SimulatedGateway() as own:
        print(f"a gateway of its own, on a simulated air: {own.endpoint}")
        yield own.endpoint
