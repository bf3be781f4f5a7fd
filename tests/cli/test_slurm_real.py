"""The batch script under a SLURM that runs: jobs by sbatch, Ray in them, traces.

Skipped where no SLURM answers, no node is idle, or the nodes do not see this test's folder
(`--basetemp` names one that they share) or this interpreter.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.ops import rmsnorm

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "templates" / "slurm_ray.sbatch"
RIGHT = """
import time
import torch.nn.functional as F

def run(hidden_states, weight):
    time.sleep(0.05)  # long enough to be cancelled in
    x = F.rms_norm(hidden_states.float(), (hidden_states.shape[-1],), weight.float(), 1e-5)
    return x.to(hidden_states.dtype)
"""
WIDTHS, ROWS = (32, 64), (1, 2, 3)
WAIT_SECONDS = 200
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")


def _said(*words: str, seconds: float = 20) -> str | None:
    """What a program prints; None where it fails or does not answer."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@pytest.fixture
def nodes(tmp_path: Path) -> int:
    """How many nodes to ask for: 2, or 1 where no more is idle."""
    for package in ("ray", "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if shutil.which("sbatch") is None:
        pytest.skip("sbatch is not installed")
    idle = (_said("sinfo", "--noheader", "--states=idle", "--format=%D") or "").split()
    count = min(2, sum(map(int, idle)))
    if not count:
        pytest.skip("no SLURM answers, or none of its nodes is idle")
    asked = ["srun", f"--nodes={count}", "--immediate=10", "--time=1"]
    if _said(*asked, "test", "-d", str(tmp_path), "-a", "-x", sys.executable) is None:
        pytest.skip(f"the nodes do not see {tmp_path}, or not {sys.executable}")
    return count


@pytest.fixture
def filled(tmp_path: Path) -> Dataset:
    """Two definitions, each with workloads and a solution, in a folder with a space."""
    made = Dataset.create(tmp_path / "a dataset")
    for width in WIDTHS:
        definition = rmsnorm.FAMILY.definition(width, 1e-5)
        inputs = {name: RandomInput() for name in definition.inputs}
        made.write_definition(definition)
        made.write_workloads(definition, [
            Trace(definition=definition.name,
                  workload=Workload(uuid=f"u{n}", axes={"batch_size": n}, inputs=inputs))
            for n in ROWS
        ])  # fmt: skip
        made.write_solution(Solution.model_validate({
            "name": f"s_{definition.name}", "definition": definition.name, "author": "tests",
            "spec": {"language": "python", "target_hardware": ["cpu"],
                     "entry_point": "main.py::run", "destination_passing_style": False},
            "sources": [{"path": "main.py", "content": RIGHT}],
        }), definition)  # fmt: skip
    return made


def _submit(dataset: Dataset, nodes: int, *words: str) -> str:
    """Submit the script; the job's number. Its log stands beside the dataset."""
    said = _said(
        "sbatch", "--parsable", f"--nodes={nodes}", "--gpus-per-node=0", "--time=10",
        f"--output={dataset.root.parent}/%j.log", f"--chdir={dataset.root.parent}",
        f"--export=ALL,PYTHON={sys.executable},KERNELKIT={ROOT}", str(SCRIPT),
        "--dataset", str(dataset.root), "--device", "cpu", "--warmup-runs", "1",
        "--iterations", "2", "--num-trials", "1", *words,
    )  # fmt: skip
    assert said is not None, "sbatch failed"
    return said.strip().partition(";")[0]


def _end(job: str) -> tuple[str, str]:
    """Wait for a job's end; its state and exit code."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        said = _said("scontrol", "--oneliner", "show", "job", job) or ""
        facts = dict(word.split("=", 1) for word in said.split() if "=" in word)
        if facts.get("JobState") in ENDED:
            return facts["JobState"], facts["ExitCode"]
        time.sleep(0.5)
    _said("scancel", job)
    raise AssertionError(f"job {job} has not ended within {WAIT_SECONDS} s")


def _log(dataset: Dataset, job: str) -> str:
    return (dataset.root.parent / f"{job}.log").read_text(encoding="utf-8", errors="replace")


def _pairs(dataset: Dataset) -> Counter[tuple[str, str]]:
    """Traces by definition and workload. Every line must be whole."""
    loaded = list(dataset.load_traces())
    assert all(one.value is not None for one in loaded)
    return Counter((one.value.definition, one.value.workload.uuid) for one in loaded if one.value)


EACH_ONCE = Counter({(f"rmsnorm_h{width}", f"u{n}"): 1 for width in WIDTHS for n in ROWS})


def test_a_job_runs_to_its_end(filled: Dataset, nodes: int) -> None:
    job = _submit(filled, nodes)
    ended = _end(job)
    log = _log(filled, job)
    assert ended == ("COMPLETED", "0:0"), log
    assert f"{nodes} nodes: 0 GPUs" in log
    for noise in ("Killed", "forcing job termination", "Unhandled error"):
        assert noise not in log, "all ended by itself"
    assert _pairs(filled) == EACH_ONCE


def test_a_cancelled_job_goes_on_with_resume(filled: Dataset, nodes: int) -> None:
    job = _submit(filled, nodes)
    deadline = time.monotonic() + WAIT_SECONDS
    while not _pairs(filled):
        assert time.monotonic() < deadline, _log(filled, job)
        time.sleep(0.2)
    assert _said("scancel", job) is not None
    assert _end(job)[0] == "CANCELLED"
    before = _pairs(filled)
    assert before < EACH_ONCE, "it was too late: the test shows nothing"
    again = _submit(filled, nodes, "--resume")
    assert _end(again) == ("COMPLETED", "0:0"), _log(filled, again)
    assert f"{before.total()} done before" in _log(filled, again)
    assert _pairs(filled) == EACH_ONCE
