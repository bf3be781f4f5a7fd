"""On a CUDA device every baseline passes: called directly, and through the evaluator.

The direct call comes first: FlashInfer compiles its kernels at first use, which takes minutes, and
the evaluator's processes then find them in the cache.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.evaluation import Evaluator  # noqa: E402
from kernelkit.bench.isolation.calling import name_outputs  # noqa: E402
from kernelkit.bench.judge.compare import check_form, compare  # noqa: E402
from kernelkit.bench.selection import Task  # noqa: E402
from kernelkit.bench.settings import Settings  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Status, Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, Workload  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.baselines import make  # noqa: E402
from kernelkit.solutions.check.smoke_inputs import without_tokens  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]
SETTINGS = Settings(device="cuda:0", iterations=20, trials=2, max_seconds=5.0, timeout=240.0)
AXES = {  # of the variable axes, by name
    "batch_size": 16, "len_indptr": 17, "num_kv_indices": 4096, "num_pages": 4200, "total_q": 512,
    "total_kv": 2048, "num_tokens": 64, "num_qo_heads": 32, "num_kv_heads": 8, "max_seq_len": 4096,
    "seq_len": 64, "pool_size": 20, "total_seq_len": 1024, "num_seqs": 16, "len_cu_seqlens": 17,
    "state_cache_size": 24, "M": 512, "max_num_pages": 64,
}  # fmt: skip
MTP_TOKENS = 4


def definitions() -> list[Definition]:
    """Every family and form, of the sizes of real models."""
    norm, gqa, mla = (family(n).definition for n in ("rmsnorm", "gqa_paged", "mla_paged"))
    gdn, dsa, moe = (family(n) for n in ("gdn", "dsa_paged", "moe"))
    sizes = {"num_experts": 32, "top_k": 8, "hidden_size": 2048, "intermediate_size": 768}
    groups = {"n_group": 8, "topk_group": 4}
    single = {**sizes, "top_k": 1}
    return [
        *(norm(4096, 1e-5, fused=f, gemma=g) for f in (False, True) for g in (False, True)),
        norm(128, 1e-6),
        family("gemm").definition(4096, 4096),
        *(gqa(32, 8, 128, size, prefill=p) for size in (1, 64) for p in (False, True)),
        *(gqa(heads, 1, 128, 1, prefill=False) for heads in (2, 5)),
        gqa(16, 2, 256, 1, prefill=False),
        family("gqa_ragged").definition(32, 8, 128),
        *(mla(16, 512, 64, size, prefill=p) for size in (1, 64) for p in (False, True)),
        mla(128, 512, 64, 1, prefill=False),
        family("mla_ragged").definition(16, 192, 128),
        *(dsa.sparse(16, 512, 64, 2048, size) for size in (1, 64)),
        dsa.indexer(64, 128, 2048),
        *(gdn.definition(4, 8, 128, stage=stage) for stage in ("decode", "mtp", "prefill")),
        family("mamba_ssu").definition(64, 64, 128, 8),
        moe.definition("fp8_block", "ds", **sizes, **groups),
        moe.definition("fp8_block", "ds", num_local_experts=8, **sizes, **groups),
        *(moe.definition(kind, "renorm", **sizes)
          for kind in ("fp8_block", "fp8_per_tensor", "fp4_block")),
        moe.definition("fp8_per_tensor", "llama4", **single),
        moe.definition("fp4_routed", None, **sizes),
        moe.definition("bf16", None, **sizes),
        *(family("rope").definition(128, 64, neox=neox) for neox in (False, True)),
        *(family("sampling").definition(k, 128256) for k in ("top_k", "top_p", "top_k_top_p")),
    ]  # fmt: skip


ALL = definitions()
NAMES = [definition.name for definition in ALL]


def axes_of(definition: Definition) -> dict[str, int]:
    """The variable axes' sizes."""
    axes = {name: AXES[name] for name in definition.var_axes}
    if "mtp" in definition.name:
        axes["seq_len"] = MTP_TOKENS
    return axes


@pytest.fixture
def module(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> types.ModuleType:
    """The baseline of the test's definition, as a package's module."""
    (solution,) = make(request.getfixturevalue("definition"))
    if "flashinfer-python" in " ".join(solution.spec.dependencies):
        pytest.importorskip("flashinfer", exc_type=ImportError)
    for source in solution.sources:
        (tmp_path / "solution").mkdir(exist_ok=True)
        (tmp_path / "solution" / source.path).write_text(source.content, encoding="utf-8")
    name = f"gpu_baseline_{solution.definition}"
    package = types.ModuleType(name)
    package.__path__ = [str(tmp_path / "solution")]
    monkeypatch.setitem(sys.modules, name, package)
    return importlib.import_module(f"{name}.main")


def fault(module: Any, definition: Definition, inputs: dict[str, Any], planned: bool) -> str:
    """How one call differs from the reference; empty if it does not."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    want = name_outputs(scope["run"](*inputs.values()), list(definition.outputs))
    setup = getattr(module, "setup", None)
    if planned and setup is not None:
        setup(*(inputs[name] for name in inspect.signature(setup).parameters))
    got = name_outputs(module.run(*inputs.values()), list(definition.outputs))
    torch.cuda.synchronize()
    if definition.op_type == "sampling":
        verdict = check_form(got, want)
    else:
        verdict = compare(got, want, family(definition.op_type).tolerance(definition))
    return "" if verdict.status is Status.PASSED else f"{verdict.status}: {verdict.message}"


@pytest.mark.parametrize("definition", ALL, ids=NAMES)
def test_it_is_right(definition: Definition, module: types.ModuleType) -> None:
    """On ordinary inputs, the family's sharper ones, and requests without tokens."""
    op = family(definition.op_type)
    plain = op.make_inputs(definition, axes_of(definition), seed=3, device="cuda")
    cases = [("plain", plain), *op.probes(definition, plain, torch.Generator().manual_seed(4))]
    if definition.op_type != "dsa_paged":
        cases += without_tokens(plain)
    found = [(label, fault(module, definition, inputs, p)) for label, inputs in cases
             for p in (True, False)]  # fmt: skip
    assert [f"{label}: {text}" for label, text in found if text] == []


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """One evaluator for all tests."""
    folder = tmp_path_factory.mktemp("evaluator")
    for part in (folder, folder.parent, folder.parent.parent):
        part.chmod(0o711)
    made = Evaluator(Dataset.create(tmp_path_factory.mktemp("dataset")), SETTINGS, folder)
    yield made
    made.stop()


@pytest.mark.parametrize("definition", ALL, ids=NAMES)
def test_the_evaluator_passes_it(definition: Definition, evaluator: Evaluator) -> None:
    found = [evaluated(evaluator, definition, solution) for solution in make(definition)]
    for evaluation in found:
        assert evaluation.status is Status.PASSED, evaluation.log
        print(f"\n{definition.name}: {evaluation.performance.latency_ms:.4f} ms, "
              f"{evaluation.performance.speedup_factor:.1f} x the reference")  # fmt: skip


def evaluated(evaluator: Evaluator, definition: Definition, solution: Solution) -> Any:
    """The verdict on one workload of random inputs."""
    if "flashinfer-python" in " ".join(solution.spec.dependencies):
        pytest.importorskip("flashinfer", exc_type=ImportError)
    inputs = {name: RandomInput() for name in definition.inputs}
    work = Workload(uuid=definition.name, axes=axes_of(definition), inputs=inputs)
    (trace,) = evaluator.definition(definition, [Task(definition, work, [solution])])
    assert isinstance(trace, Trace), trace
    return trace.evaluation
