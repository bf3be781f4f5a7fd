"""Run the doctor on sources, quickly.

A solution's process starts in a few seconds, most of them for importing torch. Here one process
has imported it, and forks for each solution; tests/cli starts processes as a person does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planted_solutions import Plant  # noqa: E402

from kernelkit.dataset.solution import BuildSpec  # noqa: E402
from kernelkit.solutions.doctor import cases, process  # noqa: E402
from kernelkit.solutions.doctor.examine import examine  # noqa: E402
from kernelkit.solutions.doctor.report import Diagnosis  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"
NURSERY = """
import os, sys, traceback
import safetensors.torch, torch
import kernelkit.bench.isolation.building, kernelkit.bench.judge.reference
from kernelkit.solutions.doctor import child
for line in sys.stdin:
    folder = line.strip()
    number = os.fork()
    if not number:
        os.chdir(folder + "/work")
        said = os.open(folder + "/said.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.argv = ["child", folder]
        try:
            child.main()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
"""
Execute = Callable[[Path, process.Job], int]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Execute]:
    """In the place of `process.execute`: forks from a process that has imported torch."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    mother = subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert mother.stdin is not None and mother.stdout is not None
    answers = mother.stdout

    def run(folder: Path, job: process.Job) -> int:
        print(folder, file=mother.stdin, flush=True)
        return int(answers.readline())

    yield run
    mother.stdin.close()
    mother.wait()
    answers.close()


@pytest.fixture
def diagnose(
    nursery: Execute, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Plant], Diagnosis]]:
    """The diagnosis of a planted solution. One thread: tiny tensors only wait for a second one."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(process, "execute", nursery)

    def run(plant: Plant) -> Diagnosis:
        spec = BuildSpec(
            language="python", target_hardware=["cpu"], entry_point="main.py::run",
            destination_passing_style=plant.passing,
        )  # fmt: skip
        job = process.Job(plant.op, spec, {"main.py": plant.source}, "cpu", 60.0)
        return examine(job, list(cases.small_cases(plant.op, {}, "cpu")), plant.label, 60.0)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run
    torch.set_num_threads(threads)
