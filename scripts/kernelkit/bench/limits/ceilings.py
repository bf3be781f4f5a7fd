"""What a device can do at most: measured once, kept in the user's cache folder, read by all.

A ceiling is what the best simple program reached on this very device (a copy, a fill, a sum, a
library's matrix product), not a datasheet's figure. `limit_*` give what no program can pass: the
datasheet-class rate that follows from clocks and widths, or a margin over the measured one,
whichever is larger.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernelkit.dataset import atomic

SCHEMA = 1
MEMORY = ("copy", "read", "fill")
MATMUL = ("bf16", "fp16", "tf32", "fp32", "fp8")
WINDOW = "empty_window"
# The units that can serve a format dtype without loss.
UNITS = {
    "float4_e2m1": ("fp8", "bf16", "fp16", "tf32", "fp32"),
    "float8_e4m3fn": ("fp8", "bf16", "fp16", "tf32", "fp32"),
    "float8_e5m2": ("fp8", "bf16", "fp16", "tf32", "fp32"),
    "bfloat16": ("bf16", "fp16", "tf32", "fp32"),
    "float16": ("fp16", "bf16", "tf32", "fp32"),
    "float32": ("tf32", "fp32"),
}
# Dense 16-bit matrix FLOPs a clock and multiprocessor, from the vendor's architecture papers
# (A100, H100, B200; 8.6, 8.9 and 12.0 with 16-bit accumulation, the faster of two rates).
DENSE_16_BIT = {(8, 0): 2048, (8, 6): 1024, (8, 9): 1024, (9, 0): 4096, (10, 0): 8192,
                (10, 3): 8192, (12, 0): 1024}  # fmt: skip
# Rates of the other element types, relative to 16 bits, where the device has the type.
RELATIVE = {"float4_e2m1": 4.0, "float8_e4m3fn": 2.0, "float8_e5m2": 2.0}
# Over a measured ceiling: H200's copy reaches 4.3 of 4.8 TB/s and 790 of 990 TFLOP/s. A CPU is
# shared with other programs while its ceilings are taken, and its caches add up.
MARGIN = {"cuda": 1.25, "cpu": 10.0}


@dataclass(frozen=True)
class Figure:
    """A measured rate or time: the median of `samples`, and how it was taken."""

    value: float
    unit: str  # GB/s (1e9 bytes), TFLOP/s or us
    method: str
    samples: int
    spread: float  # (90th - 10th percentile) / median


@dataclass(frozen=True)
class Ceilings:
    """A device's figures by name, the absent ones with the reason, and its facts.

    facts: sm_count, l2_bytes, memory_bytes, capability ([major, minor]), sm_clock_hz,
    memory_clock_hz, memory_bus_bits on a GPU; threads, l2_bytes (last-level caches) on a CPU. A
    fact that the system does not tell is absent.
    """

    device: str  # cuda or cpu
    name: str
    driver: str
    torch: str
    facts: dict[str, Any]
    figures: dict[str, Figure]
    absent: dict[str, str]
    measured_at: str  # UTC, ISO 8601

    @property
    def key(self) -> str:
        """See `device_key`."""
        return device_key(self.name, self.driver, self.torch)

    @property
    def memory_bytes_per_s(self) -> float:
        """The best of copy, read and fill: the roof of a memory-bound kernel."""
        return max(self.figures[name].value for name in MEMORY if name in self.figures) * 1e9

    def matmul_flops_per_s(self, dtype: str) -> float:
        """The measured roof of matrix products on a format dtype; 0 where nothing was measured.

        The best unit that can serve the dtype: a CPU may be slower in 16 bits than in 32.
        """
        units = UNITS.get(dtype, UNITS["float32"])
        return max((self.figures[u].value for u in units if u in self.figures), default=0.0) * 1e12

    @property
    def limit_bytes_per_s(self) -> float:
        """What no program passes: two transfers a memory clock over the bus, or the margin."""
        clock, bits = self.facts.get("memory_clock_hz"), self.facts.get("memory_bus_bits")
        theoretical = 2.0 * clock * bits / 8 if clock and bits else 0.0
        return max(self.memory_bytes_per_s * MARGIN[self.device], theoretical)

    def limit_flops_per_s(self, dtype: str) -> float:
        """What no program passes: the matrix units at the highest clock, or the margin.

        The tf32 units' rate is not used as a limit: a kernel may work on float32 in 16 bits.
        """
        served = dtype if dtype in RELATIVE else "bfloat16"
        measured = max(self.matmul_flops_per_s(d) for d in (served, "bfloat16", "float16"))
        capability = tuple(self.facts.get("capability") or ())
        a_clock = DENSE_16_BIT.get(capability, 0) * RELATIVE.get(dtype, 1.0)
        clock, count = self.facts.get("sm_clock_hz"), self.facts.get("sm_count")
        theoretical = a_clock * clock * count if clock and count else 0.0
        if dtype == "float4_e2m1":
            measured *= 2.0  # only fp8 was measured
        return max(measured * MARGIN[self.device], theoretical)

    @property
    def l2_bytes(self) -> int:
        """The cache that outlives a kernel; 0 where it is not known."""
        return int(self.facts.get("l2_bytes") or 0)

    def to_json(self) -> dict[str, Any]:
        """The document of the cache file."""
        return {"schema": SCHEMA, **asdict(self)}


def device_key(name: str, driver: str, torch: str) -> str:
    """A file name for a device and what drives it: `NVIDIA-H200_580.159.04_2.11.0+cu130`."""
    parts = (re.sub(r"[^A-Za-z0-9.+]+", "-", part).strip("-.") for part in (name, driver, torch))
    return "_".join(part or "unknown" for part in parts)


def user_cache() -> Path:
    """The user's folder for what is measured or built once: in XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kernelkit"


def cache_path(key: str) -> Path:
    """Where the ceilings of a device are kept."""
    return user_cache() / "devices" / f"{key}.json"


def load(key: str) -> Ceilings | None:
    """The kept ceilings of a device key; None where there are none, or none that can be read."""
    try:
        document = json.loads(cache_path(key).read_text(encoding="utf-8"))
        return from_json(document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def from_json(document: dict[str, Any]) -> Ceilings:
    """The inverse of `to_json`. Raises KeyError, TypeError, ValueError for another document."""
    values = dict(document)
    if values.pop("schema") != SCHEMA:
        raise ValueError("ceilings of another version")
    values["figures"] = {name: Figure(**figure) for name, figure in values["figures"].items()}
    if not any(name in values["figures"] for name in MEMORY):
        raise ValueError("no memory bandwidth")
    return Ceilings(**values)


def save(ceilings: Ceilings) -> Path:
    """Keep the ceilings; returns the file. Raises OSError where the folder cannot be written."""
    path = cache_path(ceilings.key)
    atomic.write_text(path, json.dumps(ceilings.to_json(), indent=2) + "\n")
    return path


def measure(device: str) -> Ceilings:
    """Measure a device (cuda:N or cpu), in under ten seconds."""
    from kernelkit.bench.limits import device_probe

    return device_probe.measure(device)


def current(device: str, *, refresh: bool = False) -> Ceilings:
    """The kept ceilings of a device, else measured now and kept.

    A cache folder that cannot be written costs a measurement each time and nothing else.
    """
    from kernelkit.bench.limits import device_facts

    kept = None if refresh else load(device_key(*device_facts.identify(device)))
    if kept is not None:
        return kept
    made = measure(device)
    try:
        save(made)
    except OSError:
        pass
    return made
