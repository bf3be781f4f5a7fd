"""What SGLang does not route through FlashInfer on a Hopper GPU, and the file that decides it.

Seen in SGLang 0.5.14 and 0.5.23; of another version the nearest of the two is told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernelkit.capture.sglang_pass.variants import Flags
    from kernelkit.dataset.definition import Definition
    from kernelkit.models.spec import ModelSpec

_FILE = Path(__file__).with_name("routing.json")


@dataclass(frozen=True)
class Absence:
    """Why a definition cannot appear: the reason, and file:line in SGLang (or "" for our own)."""

    reason: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.file})" if self.file else self.reason


@cache
def _table() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(_FILE.read_text(encoding="utf-8"))


def _row(group: str, name: str, version: str) -> Absence | None:
    row = _table()[group].get(name)
    if row is None:
        return None
    return Absence(row["reason"], row["files"][_nearest(version)])


def _nearest(version: str) -> str:
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    return "0.5.14" if numbers < (0, 5, 19) else "0.5.23"


def refusal(architecture: str, version: str) -> Absence | None:
    """Why SGLang refuses FlashInfer attention for this architecture, or None."""
    return _row("refused_attention", architecture, version)


def absence(definition: Definition, spec: ModelSpec, flags: Flags, version: str) -> Absence | None:
    """Why no pass of this kind shows the definition; None where one must."""
    name, op_type = definition.name, definition.op_type
    if (attention := refusal(spec.architecture, version)) and "gqa" in op_type:
        return attention
    if "gqa" in op_type and _is_masked(spec):
        return _row("case", "masked", version)
    if spec.dsa is not None and op_type in ("mla_paged", "mla_ragged"):
        return _row("op_type", "dsa_paged", version)
    if has_pages(definition):
        return _row("case", "page_size", version)
    if op_type == "rmsnorm" and _is_head_norm(definition, spec):
        return _row("case", "head_norm", version)
    if op_type == "sampling" and not name.startswith("top_k_top_p"):
        return _row("case", "single_filter_sampling", version)
    for case, applies in _CASES.items():
        if applies(definition, flags):
            return _row("case", case, version)
    return _row("op_type", op_type, version)


def _is_masked(spec: ModelSpec) -> bool:
    """Whether every layer's scores are changed: a definition of plain attention cannot be met.

    A sliding window is none while the prompts of a pass are shorter than it.
    """
    heads = spec.attention
    return heads is not None and (heads.logit_softcap is not None or heads.sinks)


def has_pages(definition: Definition) -> bool:
    """Whether it is attention over pages of more than one token, which no plan is ever given."""
    is_planned = definition.op_type in ("gqa_paged", "mla_paged")
    return is_planned and definition.const_axes.get("page_size", 1) > 1


def _is_head_norm(definition: Definition, spec: ModelSpec) -> bool:
    """A norm of head_dim: the q and k norms of attention."""
    heads = spec.attention
    if heads is None or heads.qk_norm is None or heads.head_dim == spec.hidden_size:
        return False
    return definition.name.endswith(f"_h{heads.head_dim}")


_CASES = {
    "paged_prefill": lambda d, f: "paged_prefill" in d.name
    and d.op_type == "gqa_paged" and not f.paged,
    "mla_paged_prefill": lambda d, f: d.name.startswith("mla_paged_prefill") and not f.paged,
    "ragged": lambda d, f: d.op_type in ("gqa_ragged", "mla_ragged") and not f.ragged,
    "gdn_mtp": lambda d, f: d.name.startswith("gdn_mtp"),
    "gdn_decode": lambda d, f: d.name.startswith("gdn_decode") and not f.linear_attention,
    "gdn_prefill": lambda d, f: d.name.startswith("gdn_prefill") and not f.linear_attention,
    "mamba": lambda d, f: d.op_type == "mamba_ssu" and not f.mamba,
    "deterministic_norm": lambda d, f: d.op_type == "rmsnorm" and f.deterministic,
    "deterministic_sampling": lambda d, f: d.op_type == "sampling" and f.deterministic,
    "attention_backend": lambda d, f: not f.attention
    and d.op_type in ("gqa_paged", "gqa_ragged", "mla_paged", "mla_ragged"),
}  # fmt: skip


def case(name: str, version: str) -> Absence | None:
    """The reason of one case by its name."""
    return _row("case", name, version)
