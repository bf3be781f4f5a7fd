"""`--profile`: Nsight Compute's few counters that say what holds a kernel back, in one line.

Nsight Compute replays each kernel of one call several times, with its own cache control, so its
durations are no latencies: they rank kernels and explain them. Clocks are left alone
(`--clock-control none`): locking them needs rights, and the evaluator times without.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.bench.tools.call_driver import Finished, Target, watch
from kernelkit.bench.tools.ncu_table import (
    METRICS,
    STALL,
    STALLS,
    Kernel,
    bound_of,
    explain,
    line_of,
    parse,
)

MOST_KERNELS = 50
PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute/*")
NO_RIGHTS = (
    "the driver lets only an administrator read the counters (ERR_NVGPUCTRPERM): run as root, give "
    "the container CAP_SYS_ADMIN, or set NVreg_RestrictProfilingToAdminUsers=0 for the module"
)


@dataclass(frozen=True)
class ProfileReport:
    """The kernels of one call, and the explanation; without kernels the reason why."""

    kernels: list[Kernel] = field(default_factory=list)
    reason: str | None = None
    command: list[str] = field(default_factory=list)

    @property
    def slowest(self) -> Kernel | None:
        """The kernel that takes the most time."""
        return max(self.kernels, key=lambda kernel: kernel.duration_us, default=None)

    @property
    def bound(self) -> str | None:
        """memory, compute, both or latency, of the slowest kernel."""
        return bound_of(self.slowest) if self.slowest else None

    @property
    def explanation(self) -> str:
        """One line."""
        return explain(self.kernels) if self.kernels else f"no profile: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the explanation."""
        return {**asdict(self), "bound": self.bound, "explanation": self.explanation}

    def to_text(self) -> str:
        """The explanation and a line for each kernel."""
        return "\n".join([self.explanation, *map(line_of, self.kernels)])


def run(target: Target, *, timeout: float = 600.0) -> ProfileReport:
    """Profile one call. Never raises for what the machine lacks: the report tells it."""
    if not target.device.startswith("cuda"):
        return ProfileReport(reason="Nsight Compute profiles GPUs; this runs on a CPU")
    program = find("ncu")
    if program is None:
        text = "ncu is not installed (it comes with the CUDA toolkit, or as Nsight Compute)"
        return ProfileReport(reason=text)
    metrics = [*METRICS.values(), *map(STALL.format, STALLS)]
    report, unknown = _once(program, metrics, target, timeout)
    if unknown and report.kernels == []:
        kept = [m for m in metrics if not any(m == u or m.startswith(f"{u}.") for u in unknown)]
        report, _ = _once(program, kept, target, timeout)
    return report


def find(program: str) -> str | None:
    """The program on the PATH or where CUDA's installers put it."""
    found = shutil.which(program)
    for place in () if found else PLACES:
        for folder in sorted(Path("/").glob(place.lstrip("/")), reverse=True):
            found = found or shutil.which(program, path=str(folder))
    return found


def command_of(program: str, metrics: Iterable[str], log: Path) -> list[str]:
    """The command line before the driver's own."""
    return [
        program, "--clock-control", "none", "--profile-from-start", "off",
        "--target-processes", "all", "--launch-count", str(MOST_KERNELS),
        "--csv", "--page", "raw", "--print-units", "base", "--metrics", ",".join(metrics),
        "--log-file", str(log),
    ]  # fmt: skip


def _once(
    program: str, metrics: list[str], target: Target, timeout: float
) -> tuple[ProfileReport, set[str]]:
    """One run; also the metrics that this ncu or GPU does not know."""
    with tempfile.TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "ncu.log"
        tool = command_of(program, metrics, log)
        done = watch(tool, target, Path(folder), timeout)
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    kernels = parse(text)
    unknown = set(re.findall(r"Failed to find metric (?:regex:\^?)?([\w.]+)", text + done.output))
    reason = None if kernels else why_not(text, done)
    return ProfileReport(kernels, reason, done.command), unknown


def why_not(log: str, done: Finished) -> str:
    """The reason for a profile without kernels, from what ncu and the driver said."""
    said = log + done.output
    if "ERR_NVGPUCTRPERM" in said:
        return NO_RIGHTS
    if done.timed_out:
        return "the profile did not end in time; take a smaller workload"
    if not done.called and (errors := re.findall(r"^==ERROR== (.+)$", said, re.MULTILINE)):
        return f"ncu: {errors[0].strip()}"
    if not done.called:
        lines = [line for line in done.output.splitlines() if not line.startswith("==")]
        return f"the solution failed: {lines[-1] if lines else f'code {done.code}'}"
    if errors := re.findall(r"^==ERROR== (.+)$", said, re.MULTILINE):
        return f"ncu: {errors[0].strip()}"
    return "the call launched no kernel that ncu saw"
