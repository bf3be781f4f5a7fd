"""The prefill kernel for Hopper, as plain Python over Gluon's functions on a CPU."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

import gluon_on_cpu
import torch
from fast_inputs import paged

from kernelkit.bench.judge.compare import compare
from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.solutions.templates import FOLDER

MANY = [(3, 9), (0, 4), (5, 5), (2, 0), (9, 3), (40, 70), (90, 150), (1, 130)]
SHAPES = {  # query heads, KV heads, head size, page size (0: ragged), block of keys, buffers, TMA
    "ragged": (8, 2, 64, 0, 64, 2, True),
    "ragged, wide blocks": (4, 1, 128, 0, 128, 3, True),
    "five heads a group": (10, 2, 64, 0, 64, 4, True),
    "rows of ragged keys": (4, 4, 64, 0, 64, 2, False),
    "pages of one": (5, 1, 64, 1, 64, 3, False),
    "pages of a block": (16, 1, 64, 64, 64, 2, True),
    "small pages": (8, 1, 64, 16, 128, 2, False),
}


@pytest.fixture(scope="module")
def kernel() -> types.ModuleType:
    return gluon_on_cpu.load(FOLDER / "kernels" / "gqa_prefill_sm90.py")


def make(shape: tuple[int, ...], pairs: list[tuple[int, int]]) -> tuple[Definition, dict[str, Any]]:
    """The definition and its inputs, for so many queries and keys."""
    *heads, page_size = shape
    queries, keys = zip(*pairs, strict=True)
    given = {"qo_indptr": torch.tensor([0, *queries]).cumsum(0).to(torch.int32)}
    rows = {"total_q": sum(queries)}
    if page_size:
        definition = family("gqa_paged").definition(*heads, page_size, prefill=True)
        return definition, paged(definition, list(keys), "cpu", more=(rows, given))
    definition = family("gqa_ragged").definition(*heads)
    given["kv_indptr"] = torch.tensor([0, *keys]).cumsum(0).to(torch.int32)
    axes = {**rows, "total_kv": sum(keys), "len_indptr": len(pairs) + 1}
    op = family(definition.op_type)
    return definition, op.make_inputs(definition, axes, seed=4, device="cpu", given=given)


def launched(
    kernel: types.ModuleType, inputs: dict[str, Any], page_size: int, block: int, buffers: int,
    tma: bool,
) -> dict[str, Any]:  # fmt: skip
    """Output and log-sum-exp; NaN where the kernel writes nothing."""
    q, k, v = list(inputs.values())[:3]
    tables = [inputs["qo_indptr"], inputs["kv_indptr"]]
    tables.append(inputs.get("kv_indices", tables[1]))
    tables.append(inputs.get("kv_last_page_len", tables[1]))
    output, lse = torch.full_like(q, math.nan), torch.full(q.shape[:2], math.nan)
    strides = [q.stride(0), q.stride(1)]
    for x in (k, v):
        strides += [x.stride(0), x.stride(1) if page_size else 0, x.stride(-2)]
    requests = len(tables[0]) - 1
    blocks = q.shape[0] * (q.shape[1] // k.shape[-2]) // kernel.BLOCK_ROWS + requests
    kernel.launch(
        blocks, (q, k, v, *tables, output, lse), inputs["sm_scale"] / math.log(2), requests,
        strides, page_size, tma=tma, block_tokens=block, stages=buffers, block_requests=32,
    )  # fmt: skip
    return {"output": output, "lse": lse}


def wanted(definition: Definition, inputs: dict[str, Any]) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    return dict(zip(definition.outputs, scope["run"](*inputs.values()), strict=True))


@pytest.mark.parametrize("scale", [0.2, -0.1])
@pytest.mark.parametrize("name", SHAPES)
def test_against_the_reference(kernel: types.ModuleType, name: str, scale: float) -> None:
    *shape, block, buffers, tma = SHAPES[name]
    definition, inputs = make(tuple(shape), MANY if scale > 0 else [(1, 1)])
    inputs["sm_scale"] = scale
    found = launched(kernel, inputs, shape[-1], block, buffers, tma)
    tolerance = family(definition.op_type).tolerance(definition)
    verdict = compare(found, wanted(definition, inputs), tolerance)
    assert verdict.status.value == "PASSED", verdict.message


@pytest.mark.parametrize("name", ["ragged", "rows of ragged keys"])
def test_nan_of_another_request_stays_there(kernel: types.ModuleType, name: str) -> None:
    *shape, block, buffers, tma = SHAPES[name]
    _, inputs = make(tuple(shape), [(40, 70), (7, 20), (3, 9)])
    for values in list(inputs.values())[1:3]:
        values[70:90] = math.nan
    found = launched(kernel, inputs, shape[-1], block, buffers, tma)
    finite = found["output"].isfinite().flatten(1).all(1)
    assert finite.tolist() == [True] * 40 + [False] * 7 + [True] * 3


def test_a_wait_without_an_end_is_an_error(
    kernel: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gluon_on_cpu, "DEADLOCK_S", 0.2)
    barrier = gluon_on_cpu.Barrier()
    gluon_on_cpu.init(barrier, 2)
    barrier.change(1, 0)
    with pytest.raises(AssertionError, match="never ended"):
        barrier.wait(0)
    barrier.change(1, 0)
    barrier.wait(0)


def test_a_product_sees_memory_change(kernel: types.ModuleType) -> None:
    memory = gluon_on_cpu.Memory(torch.ones(2, 2))
    product = gluon_on_cpu.warpgroup_mma(torch.ones(2, 2), memory, torch.zeros(2, 2), is_async=True)
    memory.store(torch.zeros(2, 2))
    with pytest.raises(AssertionError, match="changed below"):
        gluon_on_cpu.warpgroup_mma_wait(0, [product])
