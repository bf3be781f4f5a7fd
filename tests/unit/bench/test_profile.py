"""The profile: from ncu to a line about a solution, and every reason why there is none."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ncu_pages import NAME, counters, table

from kernelkit.bench.tools import call_driver, profile_ncu
from kernelkit.bench.tools.call_driver import CALLED, Finished, Target
from kernelkit.bench.tools.ncu_table import METRICS
from kernelkit.bench.tools.profile_ncu import ProfileReport
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.errors import FormatError
from kernelkit.ops import rmsnorm

NORM = rmsnorm.FAMILY.definition(64, 1e-5)
SPEC = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
        "destination_passing_style": False}  # fmt: skip


def _finished(
    output: str = "", *, code: int = 0, called: bool = False, timed_out: bool = False
) -> Finished:
    return Finished(["ncu"], code, output, called, timed_out)


@pytest.mark.parametrize(
    ("log", "done", "reason"),
    [
        ("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU "
         "Performance Counters on the target device 0.\n", _finished(called=True),
         "NVreg_RestrictProfilingToAdminUsers=0"),
        ("==ERROR== Failed to initialize the profiler: LibraryNotLoaded\n", _finished(called=True),
         "LibraryNotLoaded"),
        ("==PROF== Connected\n", _finished(called=True), "no kernel"),
        ("==PROF== Connected\n", _finished("Traceback\nValueError: no\n", code=1),
         "the solution failed: ValueError: no"),
        ("", _finished(timed_out=True), "did not end in time"),
        ("", _finished(code=-9), "code -9"),
    ],
)  # fmt: skip
def test_why_there_is_no_profile(log: str, done: Finished, reason: str) -> None:
    found = profile_ncu.why_not(log, done)
    assert reason in found
    assert ProfileReport(reason=found).explanation.startswith("no profile: ")


def _target(folder: Path, source: str, device: str = "cpu", **spec: Any) -> Target:
    code = folder / "code"
    code.mkdir()
    (code / "main.py").write_text(source, encoding="utf-8")
    return Target(str(code), SPEC | spec, NORM.to_json(), {"batch_size": 3}, device=device)


def _tool(folder: Path, name: str, body: str) -> None:
    """A program of that name: its arguments are `args`, its log file's path `log`."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport subprocess, sys\nfrom pathlib import Path\n"
        "args = sys.argv[1:]\nlog = Path(args[args.index('--log-file') + 1])\n"
        f"print({CALLED!r})\n{body}\n"
    )
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; no CUDA elsewhere."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(profile_ncu, "PLACES", ())
    return folder


def test_without_a_gpu_or_ncu_the_report_says_so(tmp_path: Path, programs: Path) -> None:
    target = _target(tmp_path, "def run(x, w):\n    return x\n")
    assert "CPU" in (profile_ncu.run(target).reason or "")
    on_gpu = Target(**{**vars(target), "device": "cuda:0"})
    assert "ncu is not installed" in (profile_ncu.run(on_gpu).reason or "")


def test_a_profile_from_the_tool_to_the_line(tmp_path: Path, programs: Path) -> None:
    text = table([(NAME, counters("88", "21"))])
    checks = (
        "assert args[args.index('--clock-control') + 1] == 'none', args\n"
        "assert '--csv' in args and args[args.index('--page') + 1] == 'raw', args\n"
    )
    _tool(programs, "ncu", f"{checks}log.write_text({text!r})")
    target = _target(tmp_path, "def run(x, w):\n    return x\n", "cuda:0")
    report = profile_ncu.run(target)
    assert report.reason is None
    assert report.bound == "memory"
    assert "--clock-control" in report.command


def test_a_counter_that_this_ncu_lacks_is_left_out(tmp_path: Path, programs: Path) -> None:
    lacking = METRICS["tensor_percent"]
    stem = lacking.split(".")[0]
    text = table([(NAME, counters("88", "21"))])
    body = (
        f"if {lacking!r} in args[args.index('--metrics') + 1]:\n"
        f"    log.write_text('==ERROR== Failed to find metric {stem}\\n'); sys.exit(1)\n"
        f"log.write_text({text!r})"
    )
    _tool(programs, "ncu", body)
    report = profile_ncu.run(_target(tmp_path, "def run(x, w):\n    return x\n", "cuda:0"))
    assert [kernel.name for kernel in report.kernels] == [NAME]
    assert lacking not in " ".join(report.command)


def test_a_tool_that_hangs_is_ended(tmp_path: Path, programs: Path) -> None:
    _tool(programs, "ncu", "import time\ntime.sleep(60)")
    report = profile_ncu.run(
        _target(tmp_path, "def run(x, w):\n    return x\n", "cuda:0"), timeout=1.0
    )
    assert "did not end in time" in (report.reason or "")


torch_driver = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
PASSING = "def run(x, w, out):\n    out.copy_(x)\n    print('ran', tuple(out.shape))\n"
RETURNING = (
    "seen = []\ndef setup(hidden_states):\n    seen.append(hidden_states)\n"
    "def run(x, w):\n    assert seen[0] is x\n    print('ran', tuple(x.shape))\n    return x\n"
)


@torch_driver
@pytest.mark.parametrize(("source", "passing"), [(PASSING, True), (RETURNING, False)])
def test_the_driver_calls_a_solution(tmp_path: Path, source: str, passing: bool) -> None:
    target = _target(tmp_path, source, destination_passing_style=passing)
    done = call_driver.watch([], target, tmp_path, 120)
    assert done.called, done.output
    assert done.code == 0
    assert done.output.count("ran (3, 64)") == 3, "two calls to warm up and the one of interest"


@torch_driver
def test_a_solution_that_fails_is_seen(tmp_path: Path) -> None:
    target = _target(tmp_path, "def run(x, w):\n    raise ValueError('not today')\n")
    done = call_driver.watch([], target, tmp_path, 120)
    assert not done.called and done.code == 1
    assert "the solution failed: ValueError: not today" == profile_ncu.why_not("", done)


def test_what_the_watched_process_started_ends_with_it(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"open({str(marker)!r}, 'w').write(str(child.pid))\n"
    )
    target = _target(tmp_path, "")
    call_driver.watch([sys.executable, "-c", script], target, tmp_path, 60)
    pid = int(marker.read_text())
    for _ in range(100):
        if not _alive(pid):
            break
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.is_file() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_target_names_sources_and_inputs(dataset: Dataset, tmp_path: Path) -> None:
    from kernelkit.dataset.solution import Solution

    solution = Solution.model_validate({
        "name": "s", "definition": NORM.name, "author": "a", "spec": SPEC,
        "sources": [{"path": "main.py", "content": "def run(x, w):\n    return x\n"},
                    {"path": "deep/helper.py", "content": "A = 1\n"}],
    })  # fmt: skip
    work = _workload(5)
    target = call_driver.target_of(dataset, NORM, work, solution, tmp_path, "cpu")
    assert (Path(target.code) / "deep" / "helper.py").read_text() == "A = 1\n"
    assert target.axes == {"batch_size": 5}
    assert target.spec["entry_point"] == "main.py::run"


def test_the_lightest_workload_is_taken() -> None:
    assert call_driver.lightest(NORM, [_workload(9), _workload(2), _workload(5)]).uuid == "w2"
    with pytest.raises(FormatError, match="no workload"):
        call_driver.lightest(NORM, [])


def _workload(rows: int) -> Workload:
    inputs = {name: RandomInput() for name in NORM.inputs}
    return Workload(uuid=f"w{rows}", axes={"batch_size": rows}, inputs=inputs)


@pytest.mark.gpu
def test_a_real_profile_or_a_real_reason(tmp_path: Path) -> None:
    source = "import torch\ndef run(x, w):\n    return torch.nn.functional.rms_norm(x, (64,), w)\n"
    report = profile_ncu.run(_target(tmp_path, source, "cuda:0"))
    assert report.kernels or report.reason
    if report.kernels:
        assert report.slowest is not None and report.slowest.duration_us > 0
        assert "dram_percent" in report.slowest.values
