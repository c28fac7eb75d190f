"""What this client itself has seen of its messages: counts and latencies.

Owns figures, bounded. They stand in for the gateway's own as long as it has none; see :mod:`mesh_gateway.statistics`.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Deque, Dict

from .receipt import Receipt

#: How many of the last latencies are kept. A guess: enough for a p99.
KEPT = 1000


class Tally:
    """Counts of settled messages."""

    def __init__(self) -> None:
        self.by_type: Counter[str] = Counter()
        self.by_priority: Counter[str] = Counter()
        self.by_outcome: Counter[str] = Counter()
        self.received_by_type: Counter[str] = Counter()
        self._latencies: Deque[float] = deque(maxlen=KEPT)

    def settled(self, receipt: Receipt) -> None:
        """Takes down a receipt."""
        self.by_type[receipt.message.type] += 1
        self.by_priority[receipt.message.priority] += 1
        self.by_outcome[receipt.state] += 1
        if receipt.latency_ms is not None:
            self._latencies.append(receipt.latency_ms)

    def overall(self) -> Dict[str, float]:
        """The figures as the gateway's ``health`` names them; those without a measurement are left out."""
        figures: Dict[str, float] = {"settled": sum(self.by_outcome.values())}
        if figures["settled"]:
            good = self.by_outcome["delivered"] + self.by_outcome["processed"] + self.by_outcome["sent"]
            figures["success_rate"] = good / figures["settled"]
        if self._latencies:
            ordered = sorted(self._latencies)
            figures["average_latency_ms"] = sum(ordered) / len(ordered)
            figures["p50_latency_ms"] = ordered[len(ordered) // 2]
            figures["p99_latency_ms"] = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        return figures


def plain(counts: Counter[str]) -> Dict[str, int]:
    """Counts with keys that are plain text."""
    return {str(word): number for word, number in counts.items()}


