"""Planted solutions: files in tests/fixtures/planted, their definition and causes as comments."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.solutions.doctor.report import Diagnosis

PLANTED = Path(__file__).resolve().parents[3] / "fixtures" / "planted"
FP8 = {"kind": "fp8_block", "hidden_size": 256, "intermediate_size": 128}
RANK = {"routing": "renorm", "num_experts": 8, "num_local_experts": 4, "top_k": 4}
DEEPSEEK = {"routing": "ds", "num_experts": 16, "top_k": 4, "n_group": 4, "topk_group": 2}

# fmt: off
DEFINITIONS: dict[str, Callable[[], Definition]] = {
    "gqa_decode_ps1": lambda: family("gqa_paged").definition(4, 2, 16, 1, prefill=False),
    "gqa_decode_ps4": lambda: family("gqa_paged").definition(4, 2, 16, 4, prefill=False),
    "gqa_prefill_ps1": lambda: family("gqa_paged").definition(4, 2, 16, 1, prefill=True),
    "gqa_prefill_ps4": lambda: family("gqa_paged").definition(4, 2, 16, 4, prefill=True),
    "gqa_ragged": lambda: family("gqa_ragged").definition(4, 2, 16),
    "mla_ragged": lambda: family("mla_ragged").definition(3, 24, 16),
    "mla_decode": lambda: family("mla_paged").definition(3, 32, 16, 1, prefill=False),
    "mla_prefill_ps4": lambda: family("mla_paged").definition(3, 32, 16, 4, prefill=True),
    "dsa_sparse": lambda: family("dsa_paged").sparse(3, 32, 16, 16, 4),
    "dsa_indexer": lambda: family("dsa_paged").indexer(4, 128, 64),
    "gdn_decode": lambda: family("gdn").definition(2, 4, 16, stage="decode"),
    "gdn_prefill": lambda: family("gdn").definition(2, 4, 16, stage="prefill"),
    "gdn_mtp": lambda: family("gdn").definition(2, 4, 16, stage="mtp"),
    "mamba": lambda: family("mamba_ssu").definition(4, 16, 16, 2),
    "moe_renorm": lambda: family("moe").definition(
        **FP8, routing="renorm", num_experts=8, top_k=2),
    "moe_rank": lambda: family("moe").definition(**FP8, **RANK),
    "moe_ds": lambda: family("moe").definition(**FP8, **DEEPSEEK),
    "moe_per_tensor": lambda: family("moe").definition(
        **{**FP8, "kind": "fp8_per_tensor"}, routing="renorm", num_experts=8, top_k=2),
    "moe_llama4": lambda: family("moe").definition(
        **{**FP8, "kind": "fp8_per_tensor"}, routing="llama4", num_experts=8, top_k=1),
    "moe_fp4_routed": lambda: family("moe").definition(
        **{**FP8, "kind": "fp4_routed"}, routing=None, num_experts=8, top_k=2),
    "moe_bf16": lambda: family("moe").definition(
        "bf16", None, num_experts=8, top_k=2, hidden_size=128, intermediate_size=128),
    "rope_neox": lambda: family("rope").definition(32, 16, neox=True),
    "rope_gptj": lambda: family("rope").definition(32, 16, neox=False),
    "rmsnorm": lambda: family("rmsnorm").definition(64, 1e-5),
    "gemma_rmsnorm": lambda: family("rmsnorm").definition(64, 1e-6, gemma=True),
    "fused_add_rmsnorm": lambda: family("rmsnorm").definition(64, 1e-5, fused=True),
    "gemm": lambda: family("gemm").definition(80, 72),
    "gemm_square": lambda: family("gemm").definition(64, 64),
    "sampling_top_k": lambda: family("sampling").definition("top_k", 50),
    "sampling_top_p": lambda: family("sampling").definition("top_p", 50),
    "sampling_top_k_top_p": lambda: family("sampling").definition("top_k_top_p", 50),
}
# fmt: on


@dataclass(frozen=True)
class Plant:
    """A planted solution and what is to be found: no cause for a right one."""

    label: str
    source: str
    definition: str
    causes: list[str]
    passing: bool
    certain: bool

    @property
    def op(self) -> Definition:
        """Its definition."""
        return DEFINITIONS[self.definition]()


def plants(folder: str) -> list[Plant]:
    """The planted solutions of a folder."""
    return [plant(path) for path in sorted((PLANTED / folder).glob("*.py"))]


def plant(path: Path) -> Plant:
    """A file with its comments."""
    source = path.read_text(encoding="utf-8")
    found = dict(re.findall(r"^# (\w+): (.+)$", source, re.M))
    causes = [] if found["cause"] in ("none", "unknown") else found["cause"].split(", ")
    return Plant(
        path.stem, source, found["definition"], causes, found.get("passing") == "true",
        found.get("certain") != "false",
    )  # fmt: skip


def named(folder: str, label: str) -> Plant:
    """One planted solution."""
    return plant(PLANTED / folder / f"{label}.py")


# Causes that the places of the errors suggest; no computation reproduces them.
LIKELY = {"elementwise-function", "tail-not-computed"}


def check(found: Diagnosis, planted: Plant) -> None:
    """Just the planted causes are found, each with evidence and a change."""
    assert found.faulty
    assert sorted(f.cause for f in found.findings) == sorted(planted.causes)
    for finding in found.findings:
        assert finding.evidence and finding.change
        assert finding.certain == (planted.certain and finding.cause not in LIKELY)
