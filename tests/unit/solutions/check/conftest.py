"""The small definitions that the gotcha solutions are for, the solutions, and small sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec
from kernelkit.ops import family
from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.static import check_static

GOTCHAS = Path(__file__).resolve().parents[3] / "fixtures" / "gotchas"
# The beginnings of small sources.
HEAD = "import torch\n\n\ndef run(hidden_states, weight):\n"
NORM = HEAD + "    return torch.nn.functional.rms_norm(hidden_states, (64,), weight, 1e-6)\n"
ATTEND = "def run(q, k, v, qo_indptr, kv_indptr, sm_scale):\n"
DECODE = "def run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):\n"
CUDA = {"language": "cuda", "entry_point": "kernel.cu::run"}
EXPORT = "TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, run);\n"
TRITON = "import torch\nimport triton\nimport triton.language as tl\n\n\n@triton.jit\n"


def _of(op_type: str) -> Any:
    return family(op_type)


DEFINITIONS: dict[str, Callable[[], Definition]] = {
    "gqa1": lambda: _of("gqa_paged").definition(4, 2, 16, 1, prefill=False),
    "gqa8": lambda: _of("gqa_paged").definition(4, 2, 16, 8, prefill=False),
    "gqa_prefill8": lambda: _of("gqa_paged").definition(4, 2, 16, 8, prefill=True),
    "gqa_prefill1": lambda: _of("gqa_paged").definition(4, 2, 16, 1, prefill=True),
    "mla_prefill8": lambda: _of("mla_paged").definition(4, 32, 16, 8, prefill=True),
    "mla_ragged": lambda: _of("mla_ragged").definition(4, 24, 16),
    "gptj": lambda: _of("rope").definition(32, 16, neox=False),
    "prefill": lambda: _of("gqa_ragged").definition(4, 2, 16),
    "mla": lambda: _of("mla_paged").definition(4, 512, 64, 1, prefill=False),
    "gdn": lambda: _of("gdn").definition(2, 4, 16, stage="decode"),
    "gdn_mtp": lambda: _of("gdn").definition(2, 4, 16, stage="mtp"),
    "gdnp": lambda: _of("gdn").definition(2, 4, 16, stage="prefill"),
    "mamba": lambda: _of("mamba_ssu").definition(4, 16, 8, 2),
    "moe": lambda: _of("moe").definition(
        "fp8_block", "ds", num_experts=8, top_k=2, hidden_size=256, intermediate_size=128
    ),
    "norm": lambda: _of("rmsnorm").definition(64, 1e-6),
    "fused": lambda: _of("rmsnorm").definition(64, 1e-6, fused=True),
    "gemma": lambda: _of("rmsnorm").definition(64, 1e-6, gemma=True),
    "rope": lambda: _of("rope").definition(32, 16),
    "sparse": lambda: _of("dsa_paged").sparse(4, 32, 16, 16, 1),
    "indexer": lambda: _of("dsa_paged").indexer(4, 128, 16),
    "sample": lambda: _of("sampling").definition("top_k_top_p", 64),
    "gemm": lambda: _of("gemm").definition(32, 64),
}


@cache
def definition(key: str) -> Definition:
    """One of the small definitions."""
    return DEFINITIONS[key]()


def gotchas() -> dict[str, dict[str, Any]]:
    """The manifest of the gotcha solutions."""
    return json.loads((GOTCHAS / "manifest.json").read_text(encoding="utf-8"))["solutions"]


def source(name: str) -> str:
    """The source of a gotcha solution."""
    return (GOTCHAS / f"{name}.py").read_text(encoding="utf-8")


def build_spec(**changes: Any) -> BuildSpec:
    """A plain Python spec."""
    base = {"language": "python", "target_hardware": ["cpu", "cuda"], "entry_point": "main.py::run",
            "destination_passing_style": False}  # fmt: skip
    return BuildSpec.model_validate({**base, **changes})


class Case(NamedTuple):
    """Sources (a text is main.py), the definition's key, and changes of the spec."""

    sources: str | dict[str, str]
    key: str = "norm"
    spec: dict[str, Any] = {}


def norm(body: str, before: str = "", **files: str) -> Case:
    """`before` at top level and `body` before the right result; further files by stem."""
    text = before + NORM.replace("    return", f"    {body}\n    return")
    return Case({"main.py": text, **{f"{stem}.py": held for stem, held in files.items()}})


def annotated(annotation: str) -> str:
    """A right decode kernel of two outputs, with a return annotation."""
    return source("right_gqa1").replace("sm_scale):", f"sm_scale) -> {annotation}:")


def check(text: str | dict[str, str], key: str = "norm", **changes: Any) -> list[Finding]:
    """The static findings of sources (a text is main.py) for a small definition."""
    sources = {"main.py": text} if isinstance(text, str) else text
    return check_static(build_spec(**changes), definition(key), sources)


def codes(findings: list[Finding], *, notes: bool = False) -> list[str]:
    """Their codes in order, without notes."""
    return sorted(f.code for f in findings if notes or f.severity != "note")


@pytest.fixture(params=sorted(gotchas()))
def gotcha(request: pytest.FixtureRequest) -> str:
    """The name of each gotcha solution in turn."""
    return request.param
