"""FlashInfer's side of a definition: the API, whether it exists, and its trace template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_of
from kernelkit.errors import FormatError
from kernelkit.inventory.flashinfer_tree import FlashInferTree
from kernelkit.inventory.manifest import Evidence

# Definitions of the dataset carry no API tag where FlashInfer's form of the op is another one.
# GEMM: mm_bf16 takes B as [K, N] in bf16, the dataset has [N, K] in float16; the op is the same.
UNTAGGED_API = {"gemm": "flashinfer.gemm.mm_bf16"}
# FlashInfer has a part of the op only: the scores, without the top-k and the page map.
PART_OF = {"dsa_topk_indexer": "flashinfer.attn_scores.fp8_paged_mqa_logits"}

Status = Literal["fi_supported", "fi_missing"]


@dataclass(frozen=True)
class FlashInferSide:
    """What FlashInfer has of a definition. `status` is None where no FlashInfer was looked at."""

    api: str | None
    status: Status | None = None
    template: str | None = None
    evidence: list[Evidence] = field(default_factory=list)


def flashinfer_side(tree: FlashInferTree | None, definition: Definition) -> FlashInferSide:
    """Look the definition's API up in FlashInfer's sources."""
    api = _api_of(definition)
    if tree is None:
        return FlashInferSide(api)
    if api is None:
        return FlashInferSide(None, "fi_missing", None, [_none(tree, definition)])
    found = tree.find(api)
    if found is None:
        text = f"FlashInfer {tree.version or ''} has no {api}".replace("  ", " ")
        return FlashInferSide(api, "fi_missing", None, [Evidence(about="flashinfer", text=text)])
    trace = f"trace template {found.template}" if found.template else "no trace template"
    moved = f" (moved from {api.rpartition('.')[0]})" if found.moved else ""
    seen = Evidence(
        about="flashinfer", text=f"{found.name}{moved}, {trace}", file=found.file, line=found.line
    )
    return FlashInferSide(api, "fi_supported", found.template, [seen])


def _api_of(definition: Definition) -> str | None:
    """The API that the tags name; a tag that is none counts as absent, the validator reports it."""
    try:
        return fi_api_of(definition.tags) or UNTAGGED_API.get(definition.op_type)
    except FormatError:
        return UNTAGGED_API.get(definition.op_type)


def _none(tree: FlashInferTree, definition: Definition) -> Evidence:
    """No API for the whole op; a part that exists is named."""
    for stem, api in PART_OF.items():
        if definition.name.startswith(stem):
            found = tree.find(api)
            if found is not None:
                text = f"only a part of this op: {api}"
                return Evidence(about="flashinfer", text=text, file=found.file, line=found.line)
    text = f"FlashInfer {tree.version or ''} has no API for this op".replace("  ", " ")
    return Evidence(about="flashinfer", text=text)
