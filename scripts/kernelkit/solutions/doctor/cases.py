"""The inputs on which a solution is examined: small ones of several kinds, and a workload's.

small    the family's tiny axes                     again   other contents, in the same buffers
single   one request or row                         more    more and longer requests, odd sizes
edge     padded slots, another rank's experts, fewer tokens than are asked for
default  a scale of 0, which stands for the usual one: worth a note, no fault
probe_*  the family's inputs that show errors which random ones hide
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit import ops
from kernelkit.dataset.definition import ITEM_BYTES, Definition
from kernelkit.errors import KernelkitError, UsageError
from kernelkit.ops.base import Inputs, generator

if TYPE_CHECKING:
    import torch

    from kernelkit.dataset.store import Dataset

SEED = 20
DEFAULT = "default"
MOST_BYTES = 1 << 30  # inputs of one small case; where they are larger, there are fewer cases
ONE = {
    "batch_size": 1, "len_indptr": 2, "num_seqs": 1, "len_cu_seqlens": 2, "M": 1, "num_tokens": 1,
}  # fmt: skip
# Odd sizes, several blocks long for most kernels; of axes that tables must agree on, all.
MORE = {
    "batch_size": 5, "len_indptr": 6, "num_seqs": 5, "len_cu_seqlens": 6, "total_seq_len": 83,
    "total_q": 41, "total_kv": 149, "M": 37, "num_tokens": 13, "seq_len": 3, "pool_size": 11,
    "state_cache_size": 11, "max_seq_len": 64,
}  # fmt: skip
MORE_TOKENS = 149  # of all requests together, in a paged cache
TOP_K = (3, 1, 2, 5, 8, 20)
TOP_P = (0.5, 0.9, 0.3, 0.7, 0.15, 0.95)
LEAST_PAIRS = 6  # of a token and an expert at hand, on the average
INDEXER_FACTOR = 3  # candidates for each slot that an indexer chooses


@dataclass
class Case:
    """Inputs by name in the definition's order, and the reference's outputs for them."""

    name: str
    inputs: Inputs
    axes: dict[str, int] = field(default_factory=dict)
    want: dict[str, torch.Tensor] | None = None


def small_axes(definition: Definition, given: Mapping[str, int]) -> dict[str, int]:
    """The family's tiny axes with `given` ones in their place; lengths of offsets follow.

    Raises UsageError for an axis that the definition does not leave open.
    """
    if unknown := set(given) - set(definition.var_axes):
        raise UsageError(
            "no such variable axis", received=", ".join(sorted(unknown)),
            allowed=", ".join(definition.var_axes) or "none: all axes are constant",
        )  # fmt: skip
    family = ops.family_or_generic(definition.op_type)
    axes = {**family.small_axes(definition), **given}
    for count, offsets in (("batch_size", "len_indptr"), ("num_seqs", "len_cu_seqlens")):
        if count in given and offsets in axes and offsets not in given:
            axes[offsets] = given[count] + 1
        if offsets in given and count in axes and count not in given:
            axes[count] = given[offsets] - 1
    return axes


def small_cases(definition: Definition, given: Mapping[str, int], device: str) -> Iterator[Case]:
    """The small cases; with `given` axes only these."""
    axes = small_axes(definition, given)
    large = input_bytes(definition, axes) > MOST_BYTES
    if large and definition.op_type == "moe" and not given:
        axes["seq_len"] = _few_tokens(definition)  # fewer experts to dequantise
    first = make(definition, "small", axes, SEED, device)
    yield first
    if not large:
        yield make(definition, "again", axes, SEED + 1, device)
    for name, changes in (("single", ONE), ("more", MORE)):
        if not given and not large:
            chosen = {**axes, **_known(definition, name, changes)}
            yield from _other(definition, name, chosen, device)
    if changed := edge_inputs(definition, first.inputs):
        yield Case("edge", {**first.inputs, **changed}, axes)
    if definition.op_type == "gdn" and first.inputs.get("scale"):
        yield Case(DEFAULT, {**first.inputs, "scale": 0.0}, axes)
    family = ops.family_or_generic(definition.op_type)
    rng = generator(SEED, "probe")
    for name, inputs in () if large else family.probes(definition, first.inputs, rng):
        yield Case(f"probe_{name}", {n: inputs[n] for n in definition.inputs}, axes)
    if definition.op_type == "sampling":
        yield filters_case(definition, device)


def _few_tokens(definition: Definition) -> int:
    """As few tokens as reach a handful of the experts at hand."""
    sizes = definition.const_axes
    held, total = sizes.get("num_local_experts", 0), sizes.get("num_experts", 0)
    share = held / total if held and total else 1.0
    return max(1, round(LEAST_PAIRS / (sizes["top_k"] * share)))


def edge_inputs(definition: Definition, inputs: Inputs) -> Inputs:
    """Changes of `inputs` that reach what tiny random ones do not; none for most families."""
    changed: Inputs = {}
    for name in ("initial_state_indices", "state_batch_indices"):
        if name in inputs and len(inputs[name]) > 1:
            changed[name] = inputs[name].clone()
            changed[name][0] = -1
    held, total = (definition.const_axes.get(f"num_{n}experts", 0) for n in ("local_", ""))
    if "local_expert_offset" in inputs and 0 < held < total:
        changed["local_expert_offset"] = held
    if "topk" in definition.const_axes and "seq_lens" in inputs:
        changed["seq_lens"] = inputs["seq_lens"].clamp(max=definition.const_axes["topk"] // 2 + 1)
    return changed


def filters_case(definition: Definition, device: str) -> Case:
    """Rows of flat and peaked probabilities under filters from one token to nearly all."""
    import torch

    rows = len(TOP_K)
    vocab = definition.const_axes["vocab_size"]
    given = {
        "top_k": torch.tensor(TOP_K, dtype=torch.int32).clamp(max=vocab),
        "top_p": torch.tensor(TOP_P),
        "probs": torch.softmax(
            torch.randn(rows, vocab, generator=generator(SEED, "probs")) * 1.5, dim=1
        ),
    }
    chosen = {name: value for name, value in given.items() if name in definition.inputs}
    return make(definition, "filters", {"batch_size": rows}, SEED, device, chosen)


def make(
    definition: Definition, name: str, axes: dict[str, int], seed: int, device: str,
    given: Mapping[str, Any] | None = None,
) -> Case:  # fmt: skip
    """A case of the family's inputs. Raises UsageError where axes contradict each other."""
    family = ops.family_or_generic(definition.op_type)
    return Case(name, family.make_inputs(definition, axes, seed, device, given=given), axes)


def workload_cases(
    dataset: Dataset, definition: Definition, uuid: str, device: str
) -> Iterator[Case]:
    """The workload with its recorded tensors. Raises UsageError for one that is not there."""
    from safetensors.torch import load_file

    from kernelkit.bench.session import given_inputs

    found = {t.workload.uuid: t.workload for t in dataset.workloads_of(definition)}
    if uuid not in found:
        raise UsageError(
            f"{definition.name} has no such workload", received=uuid,
            allowed=", ".join(list(found)[:5]) or "none: it has no workloads",
        )  # fmt: skip
    places = given_inputs(dataset, found[uuid])
    values = {
        name: place["value"] if "value" in place else load_file(place["path"])[place["key"]]
        for name, place in places.items()
    }
    yield make(definition, "workload", dict(found[uuid].axes), SEED, device, values)


def input_bytes(definition: Definition, axes: Mapping[str, int]) -> float:
    """Bytes of all inputs."""
    import math

    shapes = {n: definition.shape_of(n, dict(axes)) or () for n in definition.inputs}
    kinds = {name: spec.dtype.value for name, spec in definition.inputs.items()}
    return sum(math.prod(shape) * ITEM_BYTES[kinds[name]] for name, shape in shapes.items())


def _known(definition: Definition, name: str, changes: Mapping[str, int]) -> dict[str, int]:
    """The changes of axes that the definition has, where they keep its meaning."""
    found = {axis: value for axis, value in changes.items() if axis in definition.var_axes}
    if definition.op_type == "moe" and "seq_len" in definition.var_axes:
        found["seq_len"] = 1 if name == "single" else 9
    if name == "single":
        return found
    size = definition.const_axes.get("page_size", 1)
    if "num_kv_indices" in definition.var_axes:
        prefill = "total_q" in definition.var_axes
        pages = max(5, MORE_TOKENS // size) + (2 * MORE["total_q"] // size + 5 if prefill else 0)
        found |= {"num_kv_indices": pages, "num_pages": pages + 7}
    elif "max_num_pages" in definition.var_axes:
        pages = -(-definition.const_axes["topk"] * INDEXER_FACTOR // size)
        found |= {"batch_size": 3, "max_num_pages": pages, "num_pages": 3 * pages + 5}
    return found


def _other(definition: Definition, name: str, axes: dict[str, int], device: str) -> Iterator[Case]:
    """The case, or nothing where the definition does not allow its axes or they are too large."""
    if input_bytes(definition, axes) > MOST_BYTES:
        return
    try:
        yield make(definition, name, axes, SEED + 2, device)
    except KernelkitError:
        return
