"""compute-sanitizer's logs: what is clean, what is not, and what proves nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kernelkit.bench.tools import profile_ncu, sanitizer
from kernelkit.bench.tools.call_driver import CALLED, Finished, Target
from kernelkit.errors import DeadlineError, MissingDependencyError

CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
WRITES = """\
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at scale_kernel(float *, int)+0x70 in kernel.cu:12
=========     by thread (0,0,0) in block (1,0,0)
=========     Address 0x7f2b2fa00400 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f2b2fa00000 of size 1024 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: [0x2f6b3f] in libcuda.so.1
=========
========= Invalid __global__ write of size 4 bytes
=========     at scale_kernel(float *, int)+0x70 in kernel.cu:12
=========     by thread (1,0,0) in block (1,0,0)
=========     Address 0x7f2b2fa00404 is out of bounds
=========
========= Target application returned an error
========= ERROR SUMMARY: 2 errors
"""
RACES = """\
========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at sum_kernel(int *, int *)+0x90 in sum.cu:41
=========     and Read access at sum_kernel(int *, int *)+0x100 in sum.cu:51 [508 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
WARNED = "========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)\n"
CALM = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"


def done(
    output: str = CALLED, *, code: int = 0, called: bool = True, timed_out: bool = False
) -> Finished:
    """How a watched process ended."""
    return Finished(["compute-sanitizer"], code, output, called, timed_out)


@pytest.mark.parametrize(("tool", "log"), [("memcheck", CLEAN), ("racecheck", CALM)])
def test_a_clean_summary_of_a_call_that_came_back_is_clean(tool: str, log: str) -> None:
    report = sanitizer.judge(tool, log, done())
    assert report.clean
    assert report.to_text() == f"{tool} ({sanitizer.TOOLS[tool]}): clean"


def test_errors_are_counted_and_gathered() -> None:
    report = sanitizer.judge("memcheck", WRITES, done(code=86))
    assert (report.clean, report.errors) == (False, 2)
    (finding,) = report.findings
    assert finding.what == "Invalid __global__ write of size 4 bytes"
    assert finding.where == "at scale_kernel(float *, int)+0x70 in kernel.cu:12"
    assert finding.count == 2
    assert "2 x Invalid __global__ write" in report.to_text()
    json.dumps(report.to_json(), allow_nan=False)


def test_a_race_names_both_accesses() -> None:
    report = sanitizer.judge("racecheck", RACES, done(code=86))
    assert report.errors == 1
    (finding,) = report.findings
    assert "Write access at sum_kernel" in finding.what
    assert "Read access at sum_kernel" in finding.where


def test_race_warnings_are_shown_and_no_errors() -> None:
    report = sanitizer.judge("racecheck", WARNED, done())
    assert (report.clean, report.warnings) == (True, 2)
    assert "2 warnings" in report.to_text()


def test_summaries_of_several_processes_add_up() -> None:
    report = sanitizer.judge("memcheck", CLEAN + WRITES, done(code=86))
    assert report.errors == 2


@pytest.mark.parametrize(
    ("log", "finished", "text"),
    [
        ("", done(), "the tool gave no summary"),
        ("========= COMPUTE-SANITIZER\n", done(code=-11, called=False), "the tool gave no summary"),
        (CLEAN, done("ValueError: no kernel\n", code=1, called=False),
         "the solution failed: ValueError: no kernel"),
    ],
)  # fmt: skip
def test_what_proves_nothing_is_not_clean(log: str, finished: Finished, text: str) -> None:
    report = sanitizer.judge("memcheck", log, finished)
    assert not report.clean
    assert report.failure is not None and text in report.failure
    assert "no verdict" in report.to_text()


def test_the_exit_code_counts_where_the_summary_is_lost() -> None:
    report = sanitizer.judge("memcheck", "", done(code=sanitizer.ERROR_EXIT, called=False))
    assert report.errors == 1 and not report.clean


def test_a_gpu_that_cannot_be_watched_and_a_run_without_end() -> None:
    log = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer ...\n"
    with pytest.raises(MissingDependencyError, match="Device not supported"):
        sanitizer.judge("memcheck", log, done(called=False))
    with pytest.raises(DeadlineError, match="did not end in time"):
        sanitizer.judge("memcheck", "", done(called=False, timed_out=True))


def _target(folder: Path) -> Target:
    spec = {"language": "python", "entry_point": "main.py::run",
            "destination_passing_style": False}  # fmt: skip
    return Target(str(folder), spec, {}, {}, device="cuda:0")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; no CUDA elsewhere."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(profile_ncu, "PLACES", ())
    return folder


def test_without_the_tool_or_on_a_cpu(tmp_path: Path, programs: Path) -> None:
    with pytest.raises(MissingDependencyError, match="not installed"):
        sanitizer.run(_target(tmp_path), "memcheck")
    on_cpu = Target(**{**vars(_target(tmp_path)), "device": "cpu"})
    with pytest.raises(MissingDependencyError, match="watches GPUs"):
        sanitizer.run(on_cpu, "memcheck")


@pytest.mark.parametrize("tool", sanitizer.TOOLS)
def test_each_tool_runs_with_its_own_exit_code_and_bare_allocations(
    tmp_path: Path, programs: Path, tool: str
) -> None:
    log = CALM if tool == "racecheck" else CLEAN
    program = programs / "compute-sanitizer"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nargs = sys.argv[1:]\n"
        "at = lambda name: args[args.index(name) + 1]\n"
        f"assert at('--tool') == {tool!r} and at('--error-exitcode') == '86'\n"
        "assert os.environ['PYTORCH_NO_CUDA_MEMORY_CACHING'] == '1'\n"
        f"open(at('--log-file'), 'w').write({log!r})\nprint({CALLED!r})\n"
    )
    program.chmod(0o755)
    report = sanitizer.run(_target(tmp_path), tool)
    assert report.clean, report.to_text()
