"""Planted solutions: files in tests/fixtures/planted with their definition and cause as comments.

A solution's process starts in a few seconds, most of them for importing torch. Here one process
has imported it, and forks for each solution; tests/cli starts processes as a person does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec
from kernelkit.ops import family
from kernelkit.solutions.doctor import cases, process
from kernelkit.solutions.doctor.examine import examine
from kernelkit.solutions.doctor.report import Diagnosis

ROOT = Path(__file__).resolve().parents[4]
PLANTED = ROOT / "tests" / "fixtures" / "planted"
NURSERY = """
import os, sys, traceback
import safetensors.torch, torch
import kernelkit.bench.building, kernelkit.bench.reference
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


@dataclass(frozen=True)
class Plant:
    """A planted solution and what is to be found."""

    path: Path
    definition: str
    causes: list[str]
    passing: bool

    @property
    def label(self) -> str:
        """The file's name, for test ids."""
        return self.path.stem


def plants(folder: str) -> list[Plant]:
    """The planted solutions of a folder."""
    return [read_plant(path) for path in sorted((PLANTED / folder).glob("*.py"))]


def read_plant(path: Path) -> Plant:
    """A file with its comments."""
    found = dict(re.findall(r"^# (\w+): (.+)$", path.read_text(encoding="utf-8"), re.M))
    causes = [] if found["cause"] == "none" else found["cause"].split(", ")
    return Plant(path, found["definition"], causes, found.get("passing") == "true")


def definition(name: str) -> Definition:
    """A tiny definition of a family, by the name that plants use."""
    gqa, mla, dsa, gdn, moe = (
        family(f"{n}").definition if n != "dsa_paged" else family(n)
        for n in ("gqa_paged", "mla_paged", "dsa_paged", "gdn", "moe")
    )
    fp8 = {"kind": "fp8_block", "hidden_size": 256, "intermediate_size": 128}
    norm = family("rmsnorm").definition
    made: dict[str, Callable[[], Definition]] = {
        "gqa_decode_ps1": lambda: gqa(4, 2, 16, 1, prefill=False),
        "gqa_decode_ps4": lambda: gqa(4, 2, 16, 4, prefill=False),
        "gqa_prefill_ps1": lambda: gqa(4, 2, 16, 1, prefill=True),
        "gqa_prefill_ps4": lambda: gqa(4, 2, 16, 4, prefill=True),
        "gqa_ragged": lambda: family("gqa_ragged").definition(4, 2, 16),
        "mla_decode": lambda: mla(3, 32, 16, 1, prefill=False),
        "mla_prefill_ps4": lambda: mla(3, 32, 16, 4, prefill=True),
        "dsa_sparse": lambda: dsa.sparse(3, 32, 16, 16, 4),
        "dsa_indexer": lambda: dsa.indexer(4, 128, 64),
        "gdn_decode": lambda: gdn(2, 4, 16, stage="decode"),
        "gdn_prefill": lambda: gdn(2, 4, 16, stage="prefill"),
        "gdn_mtp": lambda: gdn(2, 4, 16, stage="mtp"),
        "mamba": lambda: family("mamba_ssu").definition(4, 16, 16, 2),
        "moe_renorm": lambda: moe(routing="renorm", num_experts=8, top_k=2, **fp8),
        "moe_rank": lambda: moe(
            routing="renorm", num_experts=8, num_local_experts=4, top_k=4, **fp8
        ),
        "moe_ds": lambda: moe(
            routing="ds", num_experts=16, top_k=4, n_group=4, topk_group=2, **fp8
        ),
        "moe_per_tensor": lambda: moe(
            **{**fp8, "kind": "fp8_per_tensor"}, routing="renorm", num_experts=8, top_k=2
        ),
        "rope_neox": lambda: family("rope").definition(32, 16, neox=True),
        "rope_gptj": lambda: family("rope").definition(32, 16, neox=False),
        "rmsnorm": lambda: norm(64, 1e-5),
        "gemma_rmsnorm": lambda: norm(64, 1e-6, gemma=True),
        "fused_add_rmsnorm": lambda: norm(64, 1e-5, fused=True),
        "gemm": lambda: family("gemm").definition(80, 72),
        "gemm_square": lambda: family("gemm").definition(64, 64),
        "sampling_top_k": lambda: family("sampling").definition("top_k", 50),
        "sampling_top_p": lambda: family("sampling").definition("top_p", 50),
        "sampling_top_k_top_p": lambda: family("sampling").definition("top_k_top_p", 50),
    }
    return made[name]()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Callable[[Path, process.Job], int]]:
    """In the place of `process.execute`: forks from a process that has imported torch."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    mother = subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert mother.stdin is not None and mother.stdout is not None

    def run(folder: Path, job: process.Job) -> int:
        print(folder, file=mother.stdin, flush=True)
        return int(mother.stdout.readline())

    yield run
    mother.stdin.close()
    mother.wait()
    mother.stdout.close()


@pytest.fixture
def diagnose(
    nursery: Callable[[Path, process.Job], int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Diagnosis]]:
    """The diagnosis of a planted solution. One thread: tiny tensors only wait for a second one."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(process, "execute", nursery)

    def run(plant: Plant, source: str | None = None) -> Diagnosis:
        op = definition(plant.definition)
        spec = BuildSpec(
            language="python", target_hardware=["cpu"], entry_point="main.py::run",
            destination_passing_style=plant.passing,
        )  # fmt: skip
        text = plant.path.read_text(encoding="utf-8") if source is None else source
        job = process.Job(op, spec, {"main.py": text}, "cpu", 60.0)
        return examine(job, list(cases.small_cases(op, {}, "cpu")), plant.label, 60.0)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run
    torch.set_num_threads(threads)
