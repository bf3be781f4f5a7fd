"""The benchmark on a CUDA device: references, a right and a wrong solution, device times."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.evaluation import Settings, evaluate  # noqa: E402
from kernelkit.bench.selection import Task  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Evaluation, Status  # noqa: E402
from kernelkit.dataset.workload import RandomInput, Workload  # noqa: E402
from kernelkit.ops import gemm, rmsnorm  # noqa: E402
from kernelkit.solutions.pack import pack  # noqa: E402

pytestmark = pytest.mark.gpu
SOLUTIONS = Path(__file__).resolve().parents[2] / "scripts" / "demo_assets" / "solutions"
SETTINGS = Settings(device="cuda", iterations=20, max_seconds=5.0)
CASES = [
    (rmsnorm.FAMILY.definition(4096, 1e-5), {"batch_size": 512}, "rmsnorm"),
    (rmsnorm.FAMILY.definition(4096, 1e-5, fused=True), {"batch_size": 512}, "fused_add_rmsnorm"),
    (gemm.FAMILY.definition(4096, 4096), {"M": 512}, "gemm"),
]


def _evaluate(
    dataset: Dataset, definition: Definition, axes: dict[str, int], folder: str, text: str = ""
) -> Evaluation:
    ((_, solution),) = pack(SOLUTIONS / folder, [definition])
    if text:
        source = solution.sources[0].model_copy(update={"content": text})
        solution = solution.model_copy(update={"sources": [source]})
    work = Workload(uuid="u", axes=axes, inputs={n: RandomInput() for n in definition.inputs})
    (trace,) = evaluate(dataset, Task(definition, work, [solution]), SETTINGS)
    return trace.evaluation


@pytest.mark.parametrize(("definition", "axes", "folder"), CASES, ids=[c[2] for c in CASES])
def test_bundled_solutions_pass(
    dataset: Dataset, definition: Definition, axes: dict[str, int], folder: str
) -> None:
    found = _evaluate(dataset, definition, axes, folder)
    assert found.status is Status.PASSED, found.log
    assert found.environment.hardware == torch.cuda.get_device_name()
    timing = found.correctness.extra["timing"]
    assert timing["method"] == "cuda events"
    # No GPU of today moves 20 TB/s from memory: an event pair around nothing would seem to.
    family = rmsnorm.FAMILY if "rmsnorm" in folder else gemm.FAMILY
    cost = family.cost(definition, axes)
    assert cost.flops / (timing["median_ms"] * 1e-3) < 5e15
    assert 1e-4 < timing["median_ms"] < 1e3


def test_a_wrong_solution_fails(dataset: Dataset) -> None:
    definition, axes, folder = CASES[0]
    found = _evaluate(dataset, definition, axes, folder, "def run(x, w):\n    return x\n")
    assert found.status is Status.INCORRECT_NUMERICAL


def test_a_device_fault_is_a_runtime_error_and_stays_in_its_process(dataset: Dataset) -> None:
    definition, axes, folder = CASES[0]
    text = "import torch\ndef run(x, w):\n    return x[torch.full((3,), 10**6, device=x.device)]\n"
    assert _evaluate(dataset, definition, axes, folder, text).status is Status.RUNTIME_ERROR
    assert _evaluate(dataset, definition, axes, folder).status is Status.PASSED


@pytest.mark.parametrize(("definition", "axes", "folder"), CASES, ids=[c[2] for c in CASES])
def test_references_agree_with_the_cpu(
    definition: Definition, axes: dict[str, int], folder: str
) -> None:
    family = rmsnorm.FAMILY if "rmsnorm" in folder else gemm.FAMILY
    scope: dict[str, object] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    few = {name: 16 for name in axes}
    on_cpu = family.make_inputs(definition, few, seed=3)
    on_gpu = family.make_inputs(definition, few, seed=3, device="cuda")
    want, got = (scope["run"](*inputs.values()) for inputs in (on_cpu, on_gpu))
    tolerance = family.tolerance(definition)
    torch.testing.assert_close(got.cpu(), want, atol=tolerance.atol, rtol=tolerance.rtol)
