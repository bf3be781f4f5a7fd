"""How to evaluate: the choices of the command line, in one place."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Times in seconds. `seed` None: drawn from the operating system, and written to the trace."""

    device: str = "cpu"
    warmup: int = 10
    iterations: int = 50
    trials: int = 3
    timeout: float = 300.0  # of the build, and of any one call
    max_seconds: float = 10.0  # of the timed calls of one workload
    verify_seconds: float = 10.0  # of judging outputs; beyond it a secret sample is judged
    seed: int = field(default_factory=lambda: secrets.randbits(48))
    seed_is_drawn: bool = True  # else the user gave it: contents repeat from run to run
    tolerance: dict[str, Any] = field(default_factory=dict)  # atol, rtol, matched_ratio
    file_mb: int = 8192  # the largest file that a solution may write
    cuda_graph: bool = False  # time the replay of a graph of the call
    outside: bool = True  # on a GPU: hold the times against a clock outside of the process

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")


LATER_CALLS = 20.0  # a call after the first may take so many times the first one's time
LEAST_LIMIT = 10.0  # seconds, however fast the first call was


def later_limit(settings: Settings, first_seconds: float) -> float:
    """The limit of a call after the first: a hang must not cost the whole `timeout` again."""
    return min(settings.timeout, max(LEAST_LIMIT, LATER_CALLS * first_seconds))
