"""The evaluator on a CUDA device: what passes, what is refused, and whose clock counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.evaluation import Evaluator  # noqa: E402
from kernelkit.bench.selection import Task  # noqa: E402
from kernelkit.bench.settings import Settings  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Evaluation, Status, Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, Workload  # noqa: E402
from kernelkit.ops import gemm, rmsnorm  # noqa: E402
from kernelkit.solutions.pack import pack  # noqa: E402

pytestmark = pytest.mark.gpu
SOLUTIONS = Path(__file__).resolve().parents[2] / "scripts" / "demo_assets" / "solutions"
SETTINGS = Settings(device="cuda:0", iterations=20, trials=2, max_seconds=5.0, timeout=60.0)
NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
AXES = {"batch_size": 16384}
CASES = [
    (NORM, {"batch_size": 512}, "rmsnorm"),
    (rmsnorm.FAMILY.definition(4096, 1e-5, fused=True), {"batch_size": 512}, "fused_add_rmsnorm"),
    (gemm.FAMILY.definition(4096, 4096), {"M": 512}, "gemm"),
]
BODY = """
    x = hidden_states.float()
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight.float()
    {how}
"""
VALUE = "import torch\ndef run(hidden_states, weight):" + BODY.format(
    how="return y.to(hidden_states.dtype)"
)
WRITE = BODY.format(how="output.copy_(y)").replace("\n    ", "\n        ")
PASSING = "import torch\n{top}\ndef run(hidden_states, weight, output):\n{body}"


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """One evaluator for all tests: no test may leave it changed."""
    folder = tmp_path_factory.mktemp("evaluator")
    folder.chmod(0o711)
    folder.parent.chmod(0o711)
    folder.parent.parent.chmod(0o711)
    made = Evaluator(Dataset.create(tmp_path_factory.mktemp("dataset")), SETTINGS, folder)
    yield made
    made.stop()


def _evaluate(
    evaluator: Evaluator, solution: Solution, definition: Definition = NORM,
    axes: dict[str, int] = AXES,
) -> Evaluation:  # fmt: skip
    work = Workload(uuid="u", axes=axes, inputs={n: RandomInput() for n in definition.inputs})
    (trace,) = evaluator.definition(definition, [Task(definition, work, [solution])])
    assert isinstance(trace, Trace), trace
    assert trace.evaluation is not None
    return trace.evaluation


def _solution(text: str, *, passing: bool = False) -> Solution:
    return Solution.model_validate({
        "name": "s", "definition": NORM.name, "author": "tests",
        "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": "main.py::run",
                 "destination_passing_style": passing},
        "sources": [{"path": "main.py", "content": text}],
    })  # fmt: skip


def _latency_ms(found: Evaluation) -> float:
    assert found.status is Status.PASSED, found.log
    assert found.performance is not None
    return found.performance.latency_ms


@pytest.mark.parametrize(("definition", "axes", "folder"), CASES, ids=[c[2] for c in CASES])
def test_bundled_solutions_pass(
    evaluator: Evaluator, definition: Definition, axes: dict[str, int], folder: str
) -> None:
    ((_, solution),) = pack(SOLUTIONS / folder, [definition])
    found = _evaluate(evaluator, solution, definition, axes)
    assert found.status is Status.PASSED, found.log
    assert found.environment.hardware == torch.cuda.get_device_name()
    extra = found.correctness.extra
    assert extra["timing"]["method"] == "cuda events" and extra["timing"]["l2"] == "cold"
    assert 0 < extra["timing"]["outside_ms"] < 2 * extra["timing"]["median_ms"]
    assert 0 < extra["speed_of_light"]["percent"] < 110


def test_the_clocks_inside_and_outside_agree(evaluator: Evaluator) -> None:
    """A call that is long against every jitter: the gate's clock and the events give one time."""
    found = _evaluate(evaluator, _solution(VALUE))
    timing = found.correctness.extra["timing"]
    assert timing["outside_ms"] == pytest.approx(timing["median_ms"], rel=0.1)


def test_a_forged_clock_gains_nothing(evaluator: Evaluator) -> None:
    """The process answers with a third of its time: the clock outside counts."""
    honest = _latency_ms(_evaluate(evaluator, _solution(VALUE)))
    forged = VALUE + (
        "\nimport gc\n"
        "for thing in gc.get_objects():\n"
        "    if type(thing).__name__ == 'Stopwatch':\n"
        "        real = thing.elapsed_ms\n"
        "        thing.elapsed_ms = lambda number=0, real=real: real(number) * 0.35\n"
    )
    found = _evaluate(evaluator, _solution(forged))
    assert _latency_ms(found) > 0.85 * honest
    assert found.correctness.extra["timing"]["method"] == "outside events"
    assert "seen from outside" in found.log


@pytest.mark.parametrize(
    ("top", "body"),
    [
        (
            "stream = torch.cuda.Stream()",
            "    stream.wait_stream(torch.cuda.current_stream())\n"
            "    with torch.cuda.stream(stream):" + WRITE,
        ),
        (
            "idle = torch.cuda.Stream()\nhome = torch.cuda.current_stream()",
            "    torch.cuda.set_stream(home)\n    if True:" + WRITE +
            "\n    torch.cuda.set_stream(idle)\n",
        ),
    ],
    ids=["unjoined stream", "switched stream"],
)  # fmt: skip
def test_streams_hide_no_work(evaluator: Evaluator, top: str, body: str) -> None:
    honest = _latency_ms(_evaluate(evaluator, _solution(VALUE)))
    text = PASSING.format(top=top, body=body)
    found = _evaluate(evaluator, _solution(text, passing=True))
    if found.status is Status.PASSED:
        assert _latency_ms(found) > 0.8 * honest


def test_work_left_to_a_thread_is_refused(evaluator: Evaluator) -> None:
    body = "    pool.submit(later, hidden_states, weight, output)\n"
    top = (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
        "def later(hidden_states, weight, output):\n    if True:" + WRITE
    )
    text = PASSING.format(top=top, body=body)
    assert _evaluate(evaluator, _solution(text, passing=True)).status is not Status.PASSED


def test_a_wrong_solution_fails(evaluator: Evaluator) -> None:
    found = _evaluate(evaluator, _solution("def run(x, w):\n    return x * 1\n"))
    assert found.status is Status.INCORRECT_NUMERICAL


def test_a_device_fault_stays_in_its_process(evaluator: Evaluator) -> None:
    index = "torch.full((len(x),), 10**6, device=x.device)"  # far outside: the device asserts
    text = f"import torch\ndef run(x, w):\n    return x[{index}]\n"
    assert _evaluate(evaluator, _solution(text)).status is Status.RUNTIME_ERROR
    assert _evaluate(evaluator, _solution(VALUE)).status is Status.PASSED


def test_an_endless_kernel_times_out(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "settings", replace(SETTINGS, timeout=3.0))
    text = (
        "import torch\ndef run(x, w):\n"
        "    for _ in range(40):\n        torch.cuda._sleep(2_000_000_000)\n    return x * 1\n"
    )
    assert _evaluate(evaluator, _solution(text)).status is Status.TIMEOUT
    monkeypatch.undo()
    assert _evaluate(evaluator, _solution(VALUE)).status is Status.PASSED


def test_a_graph_is_replayed_on_fresh_contents(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = _evaluate(evaluator, _solution(VALUE), axes={"batch_size": 16})
    monkeypatch.setattr(evaluator, "settings", replace(SETTINGS, cuda_graph=True))
    graph = _evaluate(evaluator, _solution(VALUE), axes={"batch_size": 16})
    assert _latency_ms(graph) < 1.2 * _latency_ms(eager)
    host_ms = [f.correctness.extra["timing"]["host_overhead_ms"] for f in (graph, eager)]
    assert host_ms[0] < host_ms[1]


def test_waiting_inside_a_call_is_no_deadlock(evaluator: Evaluator) -> None:
    text = VALUE.replace("return y", "float(y.sum())\n    return y")
    assert _evaluate(evaluator, _solution(text)).status is Status.PASSED


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
