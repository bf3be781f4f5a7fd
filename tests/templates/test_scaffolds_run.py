"""A scaffold is correct at once: on a CPU, against the definition's reference, for every family."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kernelkit import ops
from kernelkit.bench.judge.compare import compare
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.models.spec import (
    AttentionSpec,
    DsaSpec,
    GdnSpec,
    Layer,
    MambaSpec,
    MlaSpec,
    ModelSpec,
    MoeSpec,
    RopeSpec,
)
from kernelkit.ops import gqa_paged
from kernelkit.ops.derivation import Request, derive
from kernelkit.solutions.scaffold import scaffold
from kernelkit.solutions.templates import choose, load_all

torch = pytest.importorskip("torch")

TEMPLATES = load_all()
Load = Callable[[dict[str, str]], Any]

DENSE = ModelSpec(
    architecture="A", model_type="a", num_layers=1, hidden_size=64, vocab_size=50, norm_eps=1e-5,
    layers=(Layer("attention", "dense"),), intermediate_size=96,
    attention=AttentionSpec(4, 2, 16, 0.25, qk_norm="per_head"), rope=RopeSpec(16, 8, 1e4),
)  # fmt: skip
LATENT = replace(
    DENSE, layers=(Layer("mla", "dense"), Layer("mla", "moe")), attention=None, rope=None,
    hidden_size=256, mla=MlaSpec(4, 48, 32, 16, 8, 16, 0.2), dsa=DsaSpec(2, 128, 4),
    moe=MoeSpec(8, 2, 128, "ds", n_group=4, topk_group=2, routing_bias=True),
)  # fmt: skip
LINEAR = replace(
    DENSE, layers=(Layer("gdn", "moe"), Layer("attention", "moe")), hidden_size=256,
    norm_kind="gemma_rmsnorm", gdn=GdnSpec(2, 4, 16, 16, 4), moe=MoeSpec(4, 2, 128, "renorm"),
)  # fmt: skip
HYBRID = replace(
    DENSE, layers=(Layer("mamba", "none"),), attention=None, rope=None,
    mamba=MambaSpec(4, 8, 16, 2, 4),
)  # fmt: skip


def _small_definitions() -> dict[str, Definition]:
    """One definition of each kind of name, at sizes that run in milliseconds."""
    kinds: dict[str, Definition] = {}
    for spec in (DENSE, LATENT, LINEAR, HYBRID):
        for variant in derive(spec, Request()).variants:
            name = variant.definition.name
            kinds.setdefault("".join(c for c in name if not c.isdigit()), variant.definition)
    return {definition.name: definition for definition in kinds.values()}


SMALL = _small_definitions()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a solution's files and import main.py as a module of a package of its own."""

    def loaded(files: dict[str, str]) -> types.ModuleType:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        package = types.ModuleType("scaffolded")
        package.__path__ = [str(tmp_path)]
        monkeypatch.setitem(sys.modules, "scaffolded", package)
        monkeypatch.delitem(sys.modules, "scaffolded.main", raising=False)
        return importlib.import_module("scaffolded.main")

    return loaded


def _named(definition: Definition, result: Any) -> dict[str, Any]:
    values = result if isinstance(result, tuple) else (result,)
    return dict(zip(definition.outputs, values, strict=True))


def _reference(definition: Definition, inputs: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), names)
    torch.manual_seed(1)
    return _named(definition, names["run"](*inputs.values()))


def _made(definition: Definition, template: str, load: Load) -> Any:
    chosen, own = choose(TEMPLATES, template, definition)
    return load(scaffold(definition, chosen, own=own, author="a", name="n"))


def test_every_family_is_here() -> None:
    assert {definition.op_type for definition in SMALL.values()} == set(ops.OP_TYPES)


@pytest.mark.parametrize("small", SMALL.values(), ids=list(SMALL))
def test_the_dense_baseline_serves_every_definition(small: Definition, load: Load) -> None:
    family = ops.family(small.op_type)
    inputs = family.make_inputs(small, family.small_axes(small), seed=0)
    module = _made(small, "dense_baseline", load)
    torch.manual_seed(1)  # sampling draws
    got = _named(small, module.run(*inputs.values()))
    verdict = compare(got, _reference(small, inputs), family.tolerance(small))
    assert verdict.status is Status.PASSED, verdict.message
    for axis, value in small.const_axes.items():
        assert getattr(module, axis.upper(), value) == value


def _decode(lengths: list[int], load: Load, chunk: int) -> tuple[Any, ...]:
    """The template's outputs, the reference's, and the inputs, for requests of these lengths."""
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
    indptr = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0).tolist()])
    total = int(indptr[-1])
    axes = {"batch_size": len(lengths), "num_pages": total + 3, "len_indptr": len(lengths) + 1,
            "num_kv_indices": total}  # fmt: skip
    pages = torch.randperm(total, generator=torch.Generator().manual_seed(3)) + 3
    given = {"kv_indptr": indptr.int(), "kv_indices": pages.int()}
    inputs = gqa_paged.FAMILY.make_inputs(definition, axes, seed=2, given=given)
    for cache in (inputs["k_cache"], inputs["v_cache"]):
        cache[:3] = math.nan  # pages that belong to nobody
    module = _made(definition, "dense_baseline", load)
    module.CHUNK_TOKENS = chunk
    before = {name: value.clone() for name, value in inputs.items() if hasattr(value, "clone")}
    got = _named(definition, module.run(*inputs.values()))
    for name, value in before.items():
        assert torch.equal(value.nan_to_num(), inputs[name].nan_to_num()), name
    tolerance = gqa_paged.FAMILY.tolerance(definition)
    return got, compare(got, _reference(definition, inputs), tolerance)


@pytest.mark.parametrize("chunk", [1, 7, 65536])
@pytest.mark.parametrize("lengths", [[5], [1, 0, 9, 0], [0, 3, 3, 8, 1], [0, 0], []])
def test_paged_decode_by_attention(lengths: list[int], chunk: int, load: Load) -> None:
    got, verdict = _decode(lengths, load, chunk)
    assert verdict.status is Status.PASSED, verdict.message
    assert got["output"].dtype == torch.bfloat16 and got["lse"].dtype == torch.float32
    for row, length in enumerate(lengths):
        if length == 0:
            assert not got["output"][row].any() and (got["lse"][row] == -math.inf).all()


TRITON = """
import importlib, pathlib, sys
import torch
from kernelkit import ops
from kernelkit.bench.judge.compare import compare
from kernelkit.ops import gemm, rmsnorm, rope
from kernelkit.solutions.scaffold import scaffold
from kernelkit.solutions.templates import choose, load_all

templates, root = load_all(), pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
norm = rmsnorm.FAMILY.definition
cases = [
    (norm(size, 1e-2, fused=fused, gemma=gemma), {"batch_size": rows})
    for size in (16, 100) for fused in (False, True) for gemma in (False, True) for rows in (0, 3)
]
cases += [(gemm.FAMILY.definition(n, k), {"M": m})
          for n, k in ((40, 72), (128, 64)) for m in (0, 1, 17, 300)]
cases += [(rope.FAMILY.definition(size, rotary, neox=neox), axes)
          for size, rotary in ((16, 16), (24, 8)) for neox in (False, True)
          for axes in ({"num_tokens": 5, "num_qo_heads": 4, "num_kv_heads": 1, "max_seq_len": 9},
                       {"num_tokens": 0, "num_qo_heads": 2, "num_kv_heads": 2, "max_seq_len": 9})]
for number, (definition, axes) in enumerate(cases):
    template, own = choose(templates, "triton_kernel", definition)
    for path, text in scaffold(definition, template, own=own, author="a", name="n").items():
        (root / f"p{number}").mkdir(exist_ok=True)
        (root / f"p{number}" / path).write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    run = importlib.import_module(f"p{number}.main").run
    family = ops.family(definition.op_type)
    inputs = family.make_inputs(definition, axes, seed=0)
    names = {}
    exec(definition.reference, names)
    results = []
    for function in (run, names["run"]):
        result = function(*inputs.values())
        result = result if isinstance(result, tuple) else (result,)
        results.append(dict(zip(definition.outputs, result, strict=True)))
    verdict = compare(*results, family.tolerance(definition))
    assert verdict.status.value == "PASSED", (definition.name, axes, verdict.message)
print("PASSED", len(cases))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_triton_kernels_in_the_interpreter(tmp_path: Path) -> None:
    scripts = Path(ops.__file__).parents[2]
    paths = [str(scripts), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", TRITON, str(tmp_path)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "PASSED 32\n"
