"""The definitions and workloads of the corpus: four of known op types, three of none.

Small, so that all of it runs on two processors; the workload named `-large` is for timing.
"""

from __future__ import annotations

from typing import Any

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, ScalarInput, Workload

SOFTMAX = """import torch


@torch.no_grad()
def run(x):
    powers = torch.exp(x - x.amax(dim=-1, keepdim=True))
    return powers / powers.sum(dim=-1, keepdim=True)
"""
SCALE = """import torch


@torch.no_grad()
def run(x):
    return x * 2 + 1
"""
DECODE = """import torch


@torch.no_grad()
def run(q, k, v):
    scores = torch.einsum("bhd,bnhd->bhn", q.to(torch.float32), k.to(torch.float32))
    weights = torch.softmax(scores * q.shape[-1] ** -0.5, dim=-1)
    return torch.einsum("bhn,bnhd->bhd", weights, v.to(torch.float32)).to(q.dtype)
"""
WORKLOADS: dict[str, dict[str, dict[str, int]]] = {
    "rmsnorm_h128": {
        "rms-tiny": {"batch_size": 5},
        "rms-small": {"batch_size": 64},
        "rms-large": {"batch_size": 8192},
    },
    "gemm_n64_k96": {"gemm-odd": {"M": 33}, "gemm-large": {"M": 8192}},
    "gqa_paged_decode_h4_kv2_d64_ps4": {
        "paged-small": {
            "batch_size": 3,
            "num_pages": 12,
            "len_indptr": 4,
            "num_kv_indices": 9,
        },
        "paged-large": {
            "batch_size": 16,
            "num_pages": 1040,
            "len_indptr": 17,
            "num_kv_indices": 1024,
        },
    },
    "top_k_top_p_sampling_from_probs_v512": {
        "sample-odd": {"batch_size": 5},
        "sample-large": {"batch_size": 24},
    },
    "row_softmax_n2048": {"softmax-odd": {"rows": 5}, "softmax-large": {"rows": 512}},
    "scale_n1024": {"scale-large": {"rows": 4096}},
    "dense_decode_h4_d64": {
        "decode-odd": {"batch_size": 3, "length": 251},
        "decode-twin": {"batch_size": 3, "length": 251},
        "decode-large": {"batch_size": 8, "length": 1024},
    },
}


KNOWN = ("rmsnorm", "gemm", "gqa_paged", "sampling")


def definitions() -> dict[str, Definition]:
    """All definitions by name."""
    families = {name: ops.family_or_generic(name) for name in KNOWN}
    made = [
        families["rmsnorm"].definition(128, 1e-6),
        families["gemm"].definition(64, 96),
        families["gqa_paged"].definition(4, 2, 64, 4, prefill=False),
        families["sampling"].definition("top_k_top_p", 512),
        _own("row_softmax_n2048", "row_softmax", {"x": "rows n"}, {"n": 2048}, SOFTMAX),
        _own("scale_n1024", "scale", {"x": "rows n"}, {"n": 1024}, SCALE),
        _own(
            "dense_decode_h4_d64",
            "dense_decode",
            {"q": "batch_size heads dim", "k": "batch_size length heads dim",
             "v": "batch_size length heads dim"},
            {"heads": 4, "dim": 64}, DECODE, dtype="bfloat16",
        ),
    ]  # fmt: skip
    return {definition.name: definition for definition in made}


def workloads(definition: Definition) -> list[Trace]:
    """The workload lines of a definition."""
    return [
        Trace(
            definition=definition.name,
            workload=Workload(
                uuid=uuid,
                axes=axes,
                inputs={
                    name: RandomInput() if spec.shape is not None else ScalarInput(value=0.125)
                    for name, spec in definition.inputs.items()
                },
            ),
        )
        for uuid, axes in WORKLOADS[definition.name].items()
    ]


def _own(
    name: str, op_type: str, inputs: dict[str, str], constants: dict[str, int], reference: str,
    dtype: str = "float32",
) -> Definition:  # fmt: skip
    """A definition of an op type that no family knows; its output has the first input's form."""
    shapes = {tensor: axes.split() for tensor, axes in inputs.items()}
    every = dict.fromkeys(axis for shape in shapes.values() for axis in shape)
    document: dict[str, Any] = {
        "name": name,
        "op_type": op_type,
        "axes": {
            axis: {"type": "const", "value": constants[axis]}
            if axis in constants
            else {"type": "var"}
            for axis in every
        },
        "inputs": {tensor: {"shape": shape, "dtype": dtype} for tensor, shape in shapes.items()},
        "outputs": {"output": {"shape": next(iter(shapes.values())), "dtype": dtype}},
        "reference": reference,
    }
    return Definition.model_validate(document)
