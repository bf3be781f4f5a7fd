"""compute-sanitizer on one call of a solution: memory errors, races, uninitialised reads, barriers.

The verdict is the tool's own summary. A run without one is no clean run, whatever its exit code;
and a clean summary of a call that never came back is none either.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.bench.tools.call_driver import Finished, Target, watch
from kernelkit.bench.tools.profile_ncu import find
from kernelkit.errors import DeadlineError, MissingDependencyError

TOOLS = {
    "memcheck": "accesses out of bounds or misaligned",
    "racecheck": "races on shared memory",
    "initcheck": "reads of device memory that nobody wrote",
    "synccheck": "barriers that not all threads reach",
}
ERROR_EXIT = 86  # of the tool, where it found errors; no code of Python's
MOST_FINDINGS = 20
PREFIX = "========="
_SUMMARY = re.compile(
    r"^=+ (?:ERROR SUMMARY: (?P<errors>\d+) error"
    r"|RACECHECK SUMMARY: \d+ hazards? displayed \((?P<races>\d+) errors?, (?P<warnings>\d+) )",
    re.MULTILINE,
)
_UNABLE = re.compile(
    r"Device not supported|Internal Sanitizer Error|Unable to find injection", re.I
)
# What the tool says that is no finding.
_NOISE = ("COMPUTE-SANITIZER", "ERROR SUMMARY", "RACECHECK SUMMARY", "LEAK SUMMARY",
          "Target application returned", "This tool", "Please")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One kind of error at one place, and how often it was printed."""

    what: str
    where: str
    count: int


@dataclass(frozen=True)
class Report:
    """What a tool found on one call."""

    tool: str
    errors: int
    warnings: int
    findings: list[Finding] = field(default_factory=list)
    failure: str | None = None  # why the run proves nothing
    command: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """No error, and the call was made and seen to its end."""
        return not self.errors and self.failure is None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "clean": self.clean}

    def to_text(self) -> str:
        """The verdict, then a line for each finding."""
        verdict = "clean" if self.clean else f"{self.errors} errors"
        if self.failure:
            verdict = f"no verdict: {self.failure}"
        extra = f", {self.warnings} warnings" if self.warnings else ""
        lines = [f"{self.tool} ({TOOLS[self.tool]}): {verdict}{extra}"]
        lines += [
            f"  {f.count} x {f.what}{'; ' + f.where if f.where else ''}" for f in self.findings
        ]
        return "\n".join(lines)


def run(target: Target, tool: str, *, timeout: float = 600.0) -> Report:
    """Run one of TOOLS on one call.

    Raises MissingDependencyError where the tool or a GPU that it can watch is absent,
    DeadlineError where it did not end in time.
    """
    if not target.device.startswith("cuda"):
        raise MissingDependencyError("compute-sanitizer watches GPUs", received=target.device)
    program = find("compute-sanitizer")
    if program is None:
        raise MissingDependencyError(
            "compute-sanitizer is not installed", next_step="install the CUDA toolkit"
        )
    with tempfile.TemporaryDirectory(prefix="kernelkit-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "sanitizer.log"
        # Without torch's pool each tensor is an allocation of its own, with borders to cross.
        done = watch(
            command_of(program, tool, log), target, Path(folder), timeout,
            PYTORCH_NO_CUDA_MEMORY_CACHING="1",
        )  # fmt: skip
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return judge(tool, text, done)


def command_of(program: str, tool: str, log: Path) -> list[str]:
    """The command line before the driver's own.

    API errors are left to Python: libraries ask the driver for functions that it may not have.
    """
    options = ["--report-api-errors", "no"] if tool == "memcheck" else []
    return [
        program, "--tool", tool, *options, "--target-processes", "all",
        "--error-exitcode", str(ERROR_EXIT), "--log-file", str(log),
    ]  # fmt: skip


def judge(tool: str, log: str, done: Finished) -> Report:
    """The report of a run. Raises as `run`."""
    said = log + done.output
    if done.timed_out:
        raise DeadlineError(
            f"{tool} did not end in time",
            next_step="take a smaller workload, or a longer --timeout",
        )
    if unable := _UNABLE.search(said):
        raise MissingDependencyError("compute-sanitizer cannot watch this GPU", received=unable[0])
    summaries = list(_SUMMARY.finditer(said))
    errors = sum(int(found["errors"] or found["races"] or 0) for found in summaries)
    warnings = sum(int(found["warnings"] or 0) for found in summaries)
    if done.code == ERROR_EXIT:
        errors = max(errors, 1)
    failure = None
    if not summaries and not errors:
        failure = f"the tool gave no summary: {_last_line(said, done)}"
    elif not done.called and not errors:
        failure = f"the solution failed: {_last_line(done.output, done)}"
    return Report(tool, errors, warnings, findings_of(log or done.output), failure, done.command)


def findings_of(log: str) -> list[Finding]:
    """The errors of a log, the same ones together, most frequent first.

    A finding is an unindented line behind the marks; indented ones tell its place.
    """
    found: list[list[str]] = []
    for line in log.splitlines():
        if not line.startswith(PREFIX):
            continue
        text = line[len(PREFIX) :]
        if text.startswith("    ") or text.strip().startswith("and "):
            if found:
                found[-1].append(text.strip())
        elif text.strip() and not text.strip().startswith(_NOISE):
            found.append([text.strip()])
    counted = Counter((item[0], _place(item[1:])) for item in found)
    return [Finding(what, where, n) for (what, where), n in counted.most_common(MOST_FINDINGS)]


def _place(details: list[str]) -> str:
    """Where it happened: the kernel's own lines, without threads and host frames."""
    kept = [line for line in details if re.match(r"at |and (Read|Write) ", line)]
    return " ".join(kept[:2])


def _last_line(text: str, done: Finished) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" =")]
    return lines[-1] if lines else f"it ended with code {done.code}"
