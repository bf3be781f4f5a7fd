"""The benchmarks: datasets are sound, kernels right, and tables say what they should."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
import agreement  # noqa: E402
import cases  # noqa: E402
import eval_throughput  # noqa: E402

from kernelkit.bench.tools.call_driver import prepare, target_of  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.errors import MissingDependencyError  # noqa: E402
from kernelkit.ops import family_or_generic, gemm, gqa_paged, rmsnorm  # noqa: E402

HAS_GPU = torch.cuda.is_available()
SMALL = {
    "copy_torch.py": (cases.copy(64), {"n": 5}),
    "rmsnorm": (rmsnorm.FAMILY.definition(64, 1e-6), {"batch_size": 3}),
    "gemm": (gemm.FAMILY.definition(48, 80), {"M": 5}),
    "decode": (gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False), cases.decode_axes(3, 9)),
}
SOURCES = sorted(
    {
        (source.file, source.passing)
        for case in [*cases.throughput_cases(), *cases.agreement_cases()]
        for source in case.sources
    }
)


def _reference(definition: Definition, arguments: list[object]) -> tuple[torch.Tensor, ...]:
    space: dict[str, object] = {}
    exec(definition.reference, space)
    result = space["run"](*arguments[: len(definition.inputs)])
    return result if isinstance(result, tuple) else (result,)


def _why_skip(text: str) -> str | None:
    for package in ("triton", "flashinfer"):
        if f"import {package}" in text and importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    if HAS_GPU:
        return None
    if "import flashinfer" in text:
        return "FlashInfer's kernels need a GPU"
    old = "import triton" in text and _release("triton") < (3, 9)
    if old and _release("numpy") >= (2, 4):
        return "the interpreter of Triton below 3.9 fails on NumPy from 2.4 on"
    return None


def _release(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(package).split(".")[:2])


@pytest.mark.filterwarnings("ignore:Conversion of an array")  # Triton's interpreter on NumPy
@pytest.mark.parametrize(("file", "passing"), SOURCES)
def test_kernels_are_right(
    file: str, passing: bool, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (cases.KERNELS / file).read_text()
    if reason := _why_skip(text):
        pytest.skip(reason)
    interpreted = "import triton" in text and not HAS_GPU
    if interpreted:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    definition, axes = SMALL.get(file) or SMALL[file.split("_")[0]]
    source = cases.Source(file, "s", passing)
    cases.write_dataset(dataset.root, [cases.Case(definition, [axes], [source])])
    workload = dataset.workloads_of(definition)[0].workload
    solution = cases.solution_of(definition, source)
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading a solution adds its folder
    device = "cuda:0" if HAS_GPU else "cpu"
    function, arguments = prepare(
        target_of(dataset, definition, workload, solution, tmp_path, device)
    )
    if interpreted:  # its dot takes bfloat16 for integers
        arguments = [_float16(value) for value in arguments]
    result = function(*arguments)
    got = arguments[len(definition.inputs) :] if passing else result
    got = got if isinstance(got, (tuple, list)) else (got,)
    allowed = family_or_generic(definition.op_type).tolerance(definition)
    for have, want in zip(got, _reference(definition, arguments), strict=True):
        assert have.dtype == want.dtype and have.shape == want.shape
        torch.testing.assert_close(have.float(), want.float(), atol=allowed.atol, rtol=allowed.rtol)


def _float16(value: object) -> object:
    narrow = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
    return value.half() if narrow else value


def test_four_solutions_on_24_workloads(dataset: Dataset) -> None:
    cases.write_dataset(dataset.root, cases.throughput_cases())
    definitions = dataset.definitions().values()
    assert sum(len(dataset.workloads_of(d)) for d in definitions) == 24
    assert all(len(dataset.solutions_of(d)) == 4 for d in definitions)
    assert all(loaded.error is None for loaded in dataset.load_solutions())
    texts = {s.value.sources[0].content for s in dataset.load_solutions() if s.value}
    assert len(texts) == 12, "constants make the variants differ"


def test_index_tensors_travel_as_blobs(dataset: Dataset) -> None:
    case = cases.throughput_cases()[2]
    cases.write_dataset(dataset.root, [cases.Case(case.definition, case.axes[:1], [])])
    (line,) = dataset.workloads_of(case.definition)
    kinds = {name: source.type for name, source in line.workload.inputs.items()}
    assert kinds == {"q": "random", "k_cache": "random", "v_cache": "random",
                     "kv_indptr": "safetensors", "kv_indices": "safetensors",
                     "sm_scale": "scalar"}  # fmt: skip
    assert (dataset.root / line.workload.inputs["kv_indptr"].path).is_file()


@pytest.mark.compat
def test_flashinfer_bench_loads_the_dataset(dataset: Dataset) -> None:
    data = pytest.importorskip("flashinfer_bench.data")
    cases.write_dataset(dataset.root, [*cases.throughput_cases(), *cases.agreement_cases()[:1]])
    found = data.TraceSet.from_path(str(dataset.root))
    assert len(found.definitions) == 4
    assert sum(map(len, found.workloads.values())) == 25


def test_a_row_of_the_agreement() -> None:
    row = agreement.row_of(
        "k", {"latency_ms": 1.02, "relative_error": 0.004}, {"do_bench": 0.99}, {"do_bench": 1.01}
    )
    assert row["other_ms"] == {"do_bench": pytest.approx(1.0)}
    assert row["difference_percent"] == {"do_bench": pytest.approx(2.0)}
    assert row["drift_percent"] == {"do_bench": pytest.approx(100 * (1.01 / 0.99 - 1))}
    assert "+2.00 %" in agreement.table([row])


@pytest.mark.skipif(HAS_GPU, reason="says what a machine without a GPU lacks")
def test_without_what_it_needs_the_agreement_says_so() -> None:
    with pytest.raises(MissingDependencyError):
        agreement.methods_here()


def test_the_ratio_is_ours_over_theirs() -> None:
    run = {"seconds": 40.0, "code": 0, "statuses": {"PASSED": 96}, "timed_calls": 100, "said": ""}
    row = {"kernelkit": run, "flashinfer-bench": {**run, "seconds": 100.0, "said": "broke"},
           "ratio": 0.4}  # fmt: skip
    text = eval_throughput.text_of("gemm", row)
    assert "gemm: ratio 0.400" in text
    assert "broke" in text and "100 timed calls" in text


@pytest.mark.parametrize("name", cases.throughput_sets())
def test_every_set_has_96_pairs_and_no_workload_twice(name: str) -> None:
    chosen = cases.throughput_sets()[name]
    assert sum(len(case.axes) * len(case.sources) for case in chosen) == 96
    for case in chosen:
        assert len({tuple(axes.items()) for axes in case.axes}) == len(case.axes)
