"""What `kernels.py` measures: definitions, their workloads, and who runs them.

Workloads are the sizes of published comparisons (requests of equal length) and, where
KERNELKIT_EXTRA_DATA names recorded ones, a few of those for each definition (lengths vary).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import ROOT  # it puts scripts/ on sys.path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.ops import family
from kernelkit.ops.base import Inputs
from kernelkit.solutions import baselines
from kernelkit.solutions.constants import set_constants
from kernelkit.solutions.documents import parse
from kernelkit.solutions.scaffold import MANIFEST, scaffold
from kernelkit.solutions.templates import Template, choose, load_all
from kernelkit.solutions.tuning.trial import inputs_of

OURS, PLAIN = "fast_kernel", "triton_kernel"
RECORDED = 4  # of a definition
EXTENTS = ("total_q", "num_kv_indices", "batch_size", "M", "num_tokens", "seq_len")
IN_PLACE = '''"""FlashInfer's fused addition and RMSNorm as it is: in place, on copies."""

import torch
from flashinfer.norm import fused_add_rmsnorm

EPS = 1e-6
COPIES = {}


def setup(hidden_states):
    COPIES.clear()


@torch.no_grad()
def run(hidden_states, residual, weight):
    key = hidden_states.data_ptr()
    if key not in COPIES:
        COPIES[key] = hidden_states.clone(), residual.clone()
    x, kept = COPIES[key]
    fused_add_rmsnorm(x, kept, weight, EPS)
    return x
'''
TORCH = {
    "rmsnorm": "import torch\n\nEPS = 1e-6\n\n\n@torch.no_grad()\ndef run(hidden_states, weight):\n"
    "    size = (hidden_states.shape[-1],)\n"
    "    return torch.nn.functional.rms_norm(hidden_states, size, weight, EPS)\n",
}


@dataclass(frozen=True)
class Workload:
    """One call: its axes; requests of equal length, or of the family's varied ones."""

    label: str
    axes: dict[str, int]
    equal: bool = True

    def inputs(self, definition: Definition, device: str) -> Inputs:
        """The family's inputs, page tables replaced where lengths are equal."""
        import torch

        given: dict[str, Any] = {}
        if self.equal and "kv_indptr" in definition.inputs:
            ends = torch.arange(self.axes["len_indptr"])
            entries = self.axes.get("num_kv_indices", self.axes.get("total_kv", 0))
            given["kv_indptr"] = (ends * (entries // max(1, len(ends) - 1))).to(torch.int32)
            if "qo_indptr" in definition.inputs:
                queries = self.axes["total_q"] // max(1, len(ends) - 1)
                given["qo_indptr"] = (ends * queries).to(torch.int32)
            if "kv_last_page_len" in definition.inputs:
                size = definition.const_axes["page_size"]
                given["kv_last_page_len"] = torch.full((self.axes["batch_size"],), size).int()
        if self.equal and "cu_seqlens" in definition.inputs:
            ends = torch.arange(self.axes["len_cu_seqlens"])
            given["cu_seqlens"] = ends * (self.axes["total_seq_len"] // self.axes["num_seqs"])
        if self.equal and "seq_lens" in definition.inputs:  # an indexer's
            length = self.axes["max_num_pages"] * definition.const_axes["page_size"]
            given["seq_lens"] = torch.full((self.axes["batch_size"],), length).int()
        return inputs_of(definition, self.axes, device, given)


@dataclass(frozen=True)
class Contender:
    """A solution under a short name; `in_place`: it writes what it is given, so that only its
    first call can be judged."""

    name: str
    solution: Solution
    in_place: bool = False


def _decode(batch: int, tokens: int, page_size: int = 1) -> Workload:
    pages = batch * -(-tokens // page_size)
    axes = {"batch_size": batch, "len_indptr": batch + 1, "num_kv_indices": pages,
            "num_pages": pages + 1}  # fmt: skip
    return Workload(f"b{batch} L{tokens}", axes)


def _sizes(axis: str, *values: int) -> list[Workload]:
    return [Workload(f"{axis[:1].lower()}{value}", {axis: value}) for value in values]


def _pool(axis: str, batch: int, **more: int) -> Workload:
    """Requests with a slot each, in a pool that has no other."""
    return Workload(f"b{batch}", {"batch_size": batch, axis: batch, **more})


def _tokens(tokens: int) -> Workload:
    return Workload(f"t{tokens}", {"num_tokens": tokens, "num_pages": 1024})


def _indexed(batch: int, tokens: int) -> Workload:
    """Requests of equal length, for the indexer, whose pages are of 64."""
    pages = tokens // 64
    axes = {"batch_size": batch, "max_num_pages": pages, "num_pages": batch * pages + 1}
    return Workload(f"b{batch} L{tokens}", axes)


def _rope(tokens: int) -> Workload:
    heads = {"num_qo_heads": 32, "num_kv_heads": 8}
    return Workload(f"t{tokens}", {"num_tokens": tokens, "max_seq_len": 8192, **heads})


def _prefill(batch: int, tokens: int, page_size: int = 0) -> Workload:
    """Requests of equal length whose keys are all new."""
    axes = {"total_q": batch * tokens, "len_indptr": batch + 1}
    if page_size:
        pages = batch * -(-tokens // page_size)
        axes |= {"num_kv_indices": pages, "num_pages": pages + 1}
    else:
        axes["total_kv"] = batch * tokens
    return Workload(f"b{batch} L{tokens}", axes)


def _ragged(sequences: int, tokens: int) -> Workload:
    """Sequences of equal length, without a cache before them."""
    axes = {"total_seq_len": sequences * tokens, "num_seqs": sequences,
            "len_cu_seqlens": sequences + 1}  # fmt: skip
    return Workload(f"b{sequences} L{tokens}", axes)


def _experts() -> Iterator[Definition]:
    """DeepSeek-V3's on one of eight ranks; Qwen3-30B-A3B's, on one rank and on one of eight;
    DeepSeek-V2-Lite's; Qwen3-30B-A3B's and Llama 4 Scout's with scales of whole experts;
    Qwen3-30B-A3B's in bfloat16."""
    make = family("moe").definition
    large = {"hidden_size": 7168, "intermediate_size": 2048}
    small = {"hidden_size": 2048, "intermediate_size": 768}
    groups = {"n_group": 8, "topk_group": 4}
    yield make("fp8_block", "ds", num_experts=256, num_local_experts=32, top_k=8, **groups, **large)
    yield make("fp8_block", "renorm", num_experts=128, top_k=8, **small)
    yield make("fp8_block", "renorm", num_experts=128, num_local_experts=16, top_k=8, **small)
    lite = {"hidden_size": 2048, "intermediate_size": 1408}
    yield make("fp8_block", "default", num_experts=64, top_k=6, **lite)
    yield make("fp8_per_tensor", "renorm", num_experts=128, top_k=8, **small)
    yield make("bf16", None, num_experts=128, top_k=8, **small)
    scout = {"hidden_size": 5120, "intermediate_size": 8192}
    yield make("fp8_per_tensor", "llama4", num_experts=16, top_k=1, **scout)


def table() -> list[tuple[Definition, list[Workload]]]:
    """Definitions with the sizes of published comparisons."""
    gqa, mla = family("gqa_paged").definition, family("mla_paged").definition
    norm, gemm, draw = (family(n).definition for n in ("rmsnorm", "gemm", "sampling"))
    gdn, mamba = family("gdn").definition, family("mamba_ssu").definition
    sparse, ragged = family("dsa_paged").sparse, family("gqa_ragged").definition
    rope, indexer = family("rope").definition, family("dsa_paged").indexer
    lengths = ((1, 4096), (16, 2048), (64, 1024), (64, 8192), (128, 2048))
    rows = _sizes("batch_size", 1, 64, 1024, 16384)
    few = _sizes("M", 1, 4, 16, 32, 64)
    return [
        (gqa(32, 8, 128, 1, prefill=False), [_decode(*each) for each in lengths]),
        (gqa(32, 8, 128, 64, prefill=False), [_decode(*each, 64) for each in lengths]),
        (gqa(32, 4, 128, 1, prefill=False), [_decode(*each) for each in lengths[:3]]),
        (gqa(40, 8, 128, 1, prefill=False), [_decode(*each) for each in lengths[:3]]),
        (draw("top_k_top_p", 128256), _sizes("batch_size", 1, 8, 64, 256)),
        (draw("top_k", 128256), _sizes("batch_size", 1, 64)),
        (draw("top_p", 128256), _sizes("batch_size", 1, 64)),
        (norm(4096, 1e-5), rows),
        (norm(7168, 1e-6, fused=True), rows),
        (norm(4096, 1e-5, fused=True), rows),
        (gemm(6144, 4096), few),
        (gemm(4096, 4096), few),
        (gemm(28672, 4096), few),
        (gemm(4096, 14336), few),
        (mla(16, 512, 64, 1, prefill=False), [_decode(*e) for e in ((16, 2048), (64, 2048),
                                                                    (128, 4096))]),
        (mla(16, 512, 64, 64, prefill=False), [_decode(*e, 64) for e in ((16, 2048), (64, 2048))]),
        (gdn(16, 32, 128, stage="decode"), _sizes("batch_size", 1, 32, 128)),
        (gdn(16, 32, 128, stage="mtp"), [_pool("pool_size", n, seq_len=4) for n in (1, 32, 128)]),
        (gdn(16, 32, 128, stage="prefill"), [_ragged(1, 8192), _ragged(8, 2048), _ragged(32, 512)]),
        (mamba(64, 64, 128, 1), [_pool("state_cache_size", n) for n in (1, 64, 256)]),
        (sparse(16, 512, 64, 2048, 64), [_tokens(n) for n in (1, 16, 64, 1024)]),
        (indexer(64, 128, 2048), [_indexed(*e) for e in ((1, 8192), (64, 8192), (1, 131072))]),
        (ragged(32, 8, 128), [_prefill(*each) for each in ((8, 2048), (1, 8192), (16, 128))]),
        (gqa(32, 8, 128, 1, prefill=True), [_prefill(8, 2048, 1), _prefill(1, 8192, 1)]),
        *((experts, _sizes("seq_len", 1, 16, 64, 4096)) for experts in _experts()),
        (rope(128, 64), [_rope(n) for n in (1, 64, 4096)]),
    ]  # fmt: skip


def recorded(definition: Definition, most: int = RECORDED) -> list[Workload]:
    """A few recorded workloads, from the smallest to the largest; none without extra data."""
    folder = os.environ.get("KERNELKIT_EXTRA_DATA")
    if folder is None:
        return []
    name = Path("data", "workloads", definition.op_type, f"{definition.name}.jsonl")
    path = Path(folder) / name
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    axes = {json.dumps(each["workload"]["axes"], sort_keys=True) for each in lines}
    ordered = sorted(map(json.loads, axes), key=_extent)
    ordered = [each for each in ordered if _extent(each)]
    places = {round(n * (len(ordered) - 1) / max(1, most - 1)) for n in range(most)}
    chosen = [ordered[place] for place in sorted(places) if ordered]
    return [Workload(f"recorded {_extent(each)}", each, equal=False) for each in chosen]


def _extent(axes: dict[str, int]) -> int:
    """How large a call is: cached entries, or rows."""
    return next((axes[name] for name in EXTENTS if name in axes), 0)


def contenders(definition: Definition) -> Iterator[Contender]:
    """Ours first, then everybody else's."""
    yield Contender("ours", _from_template(definition, OURS))
    if definition.op_type == "rope":  # what a simple kernel does
        yield Contender("triton", _from_template(definition, PLAIN))
    if definition.op_type == "mla_paged" and definition.const_axes["page_size"] == 1:
        yield Contender("vendored", _from_template(definition, "vendored_kernel"))
    if definition.name.startswith(("gdn_decode", "gdn_prefill")):
        yield Contender("fla", _from_template(definition, "linear_attention"))
    known = baselines.make(definition)
    from_flashinfer = all(solution.name.startswith("flashinfer") for solution in known)
    if definition.op_type in ("dsa_paged", "moe") and from_flashinfer:  # not every GPU runs it
        yield Contender("torch", _from_template(definition, "dense_baseline"))
    for solution in known:
        provider = "flashinfer" if solution.name.startswith("flashinfer") else "torch"
        yield Contender(provider, solution)
        if definition.name.startswith("gqa_paged_decode"):
            yield Contender("flashinfer cuda cores", _without_tensor_cores(solution))
    if definition.name.startswith("fused_add_rmsnorm"):
        eps = family("rmsnorm").semantics(definition)["eps"]
        text = set_constants(IN_PLACE, {"eps": eps})
        yield Contender("flashinfer in place", _plain(definition, text), in_place=True)
    elif definition.op_type in TORCH:
        values = family(definition.op_type).semantics(definition)
        text = set_constants(TORCH[definition.op_type], values)
        yield Contender("torch", _plain(definition, text))


def _from_template(definition: Definition, group: str) -> Solution:
    template, own = choose(load_all(), group, definition)
    return _solution(template, scaffold(definition, template, own=own, author="benchmarks",
                                        name=f"{template.name}_{definition.name}"))  # fmt: skip


def _solution(template: Template, files: dict[str, str]) -> Solution:
    document = json.loads(files[MANIFEST])
    sources = [{"path": p, "content": t} for p, t in files.items() if p != MANIFEST]
    return parse({**document, "sources": sources}, template.name)


def _without_tensor_cores(solution: Solution) -> Solution:
    document = json.loads(solution.model_dump_json())
    for source in document["sources"]:
        source["content"] = set_constants(source["content"], {"tensor_core_group": 1 << 30})
    return parse({**document, "name": f"{document['name']}_cuda_cores"}, solution.name)


def _plain(definition: Definition, text: str) -> Solution:
    spec = {
        "language": "python",
        "target_hardware": ["cuda"],
        "entry_point": "main.py::run",
        "dependencies": ["torch"],
        "destination_passing_style": False,
        "binding": None,
    }
    return parse(
        {"name": f"plain_{definition.name}", "definition": definition.name, "author": "benchmarks",
         "spec": spec, "sources": [{"path": "main.py", "content": text}]}, "plain",
    )  # fmt: skip


__all__ = ["ROOT", "Contender", "Workload", "contenders", "recorded", "table"]
