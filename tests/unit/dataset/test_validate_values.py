"""Index tensors: those of every family's generator are sound, and each planted fault is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.validate.blobs import check_values  # noqa: E402
from kernelkit.dataset.validate.header import INTEGERS  # noqa: E402
from kernelkit.dataset.workload import Workload  # noqa: E402
from kernelkit.models.load import load_model  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import OP_TYPES, base, family  # noqa: E402
from kernelkit.ops.derivation import Request, derive  # noqa: E402

CONFIGS = Path(__file__).resolve().parents[2] / "fixtures" / "configs"
MODELS = (
    "deepseek-ai__DeepSeek-V3.2-Exp.json",
    "Qwen__Qwen3-Next-80B-A3B-Instruct.json",
    "ibm-granite__granite-4.0-h-tiny.json",
)


def derived() -> dict[str, Definition]:
    """The definitions with integer tensors, of the models, that small inputs can be made of."""
    request = Request(
        tags=(), parallel=(Parallelism(8, 8),), page_sizes=(1, 64), op_types=OP_TYPES,
        shard_gemm=False,
    )  # fmt: skip
    found = {}
    for model in MODELS:
        for variant in derive(load_model(None, None, CONFIGS / model, None).spec, request).variants:
            definition = variant.definition
            if not any(s.dtype.value in INTEGERS and s.shape for s in definition.inputs.values()):
                continue
            axes = family(definition.op_type).small_axes(definition)
            if base.all_bytes(definition, axes) < 64 << 20:
                found[definition.name] = definition
    return found


DERIVED = derived()


def values_of(definition: Definition) -> tuple[Workload, dict[str, numpy.ndarray]]:
    """A workload of the family's small axes, and its integer tensors."""
    op = family(definition.op_type)
    axes = op.small_axes(definition)
    inputs = op.make_inputs(definition, axes, seed=3)
    integers = {
        name: inputs[name].numpy()
        for name, spec in definition.inputs.items()
        if spec.dtype.value in INTEGERS and isinstance(inputs.get(name), torch.Tensor)
    }
    return Workload(uuid="u", axes=axes, inputs={}), integers


@pytest.mark.parametrize("name", sorted(DERIVED))
def test_generated_index_tensors_are_sound(name: str) -> None:
    assert [*check_values(DERIVED[name], *values_of(DERIVED[name]))] == []


def put(name: str, place: Any, value: int) -> Callable[[dict[str, numpy.ndarray]], None]:
    """Another value at one place of a tensor."""

    def change(values: dict[str, numpy.ndarray]) -> None:
        values[name][place] = value

    return change


PLANTED = [
    ("dsa_sparse_attention", "B9", put("sparse_indices", (0, 0), 1 << 30)),
    ("dsa_sparse_attention", "B9", put("sparse_indices", (0, 0), -2)),
    ("dsa_topk_indexer", "B9", put("block_table", (0, 0), 1 << 30)),
    ("dsa_topk_indexer", "B9", put("block_table", (0, 0), -1)),
    ("dsa_topk_indexer", "B9", put("seq_lens", 0, 1 << 30)),
    ("gdn_mtp", "B9", put("initial_state_indices", 0, 1 << 30)),
    ("gdn_prefill", "B8", put("cu_seqlens", -1, 1)),
    ("mamba_ssu", "B9", put("state_batch_indices", 0, 1 << 30)),
    ("mla_paged_prefill", "B8", put("qo_indptr", -1, 1)),
    ("mla_paged_decode", "B8", put("kv_indptr", 0, 1)),
    ("mla_ragged", "B8", put("kv_indptr", -1, 1)),
    ("rope", "B9", put("positions", 0, 1 << 30)),
]


@pytest.mark.parametrize(("start", "code", "change"), PLANTED)
def test_planted_values(
    start: str, code: str, change: Callable[[dict[str, numpy.ndarray]], None]
) -> None:
    names = [name for name in sorted(DERIVED) if name.startswith(start)]
    assert names, sorted(DERIVED)
    workload, values = values_of(DERIVED[names[0]])
    change(values)
    assert code in {problem[0] for problem in check_values(DERIVED[names[0]], workload, values)}


def test_a_block_table_may_hold_anything_behind_a_request() -> None:
    name = next(name for name in DERIVED if name.startswith("dsa_topk_indexer"))
    workload, values = values_of(DERIVED[name])
    used = -(-int(values["seq_lens"][0]) // 64)
    values["seq_lens"][0] -= 64
    values["block_table"][0, used - 1 :] = -1
    assert [*check_values(DERIVED[name], workload, values)] == []
