"""What is right stays silent: references, the demo's solutions, templates, honest samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive
from kernelkit.solutions.check.static import check_static
from kernelkit.solutions.check.target import find, read

from .conftest import DEFINITIONS, build_spec, codes, definition

ROOT = Path(__file__).resolve().parents[4]
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
MODELS = ("Qwen__Qwen3-30B-A3B-FP8", "Qwen__Qwen3-Next-80B-A3B-Instruct", "google__gemma-2-9b",
          "deepseek-ai__DeepSeek-V3.2-Exp", "nvidia__Nemotron-H-56B-Base-8K")  # fmt: skip
TEMPLATES = ROOT / ".claude/skills/add-flashinfer-solution/templates"


def _derived(model: str) -> list[Definition]:
    spec = load_model(None, None, CONFIGS / f"{model}.json").spec
    request = Request(parallel=(Parallelism(tp=2, ep=8),))
    return [variant.definition for variant in derive(spec, request).variants]


def _silent(one: Definition, sources: dict[str, str]) -> None:
    found = check_static(build_spec(), one, sources)
    assert codes(found) == [], (one.name, found)


@pytest.mark.parametrize("model", MODELS)
def test_references_of_real_models(model: str) -> None:
    for one in _derived(model):
        _silent(one, {"main.py": one.reference})


@pytest.mark.parametrize("key", DEFINITIONS)
def test_references_of_the_small_definitions(key: str) -> None:
    one = definition(key)
    _silent(one, {"main.py": one.reference})


def _known(names: set[str]) -> Iterator[tuple[str, Definition]]:
    """The definitions that the templates and the demo are for."""
    from kernelkit.ops import family

    made = [
        family("gqa_paged").definition(32, 8, 128, 1, prefill=False),
        family("gqa_ragged").definition(32, 8, 128), family("gemm").definition(4096, 4096),
        family("gdn").definition(4, 8, 128, stage="decode"),
        family("mla_paged").definition(16, 512, 64, 1, prefill=False),
        family("rmsnorm").definition(4096, 1e-5),
        family("rmsnorm").definition(4096, 1e-5, fused=True), family("rope").definition(128, 64),
        family("sampling").definition("top_k_top_p", 1024),
        *(family("sampling").definition(k, 128256) for k in ("top_k", "top_p", "top_k_top_p")),
        family("gqa_paged").definition(32, 8, 128, 64, prefill=False),
        family("mla_paged").definition(16, 512, 64, 64, prefill=False),
        *(family("gqa_paged").definition(32, 8, 128, size, prefill=True) for size in (1, 64)),
        family("gdn").definition(4, 8, 128, stage="mtp"),
        family("mamba_ssu").definition(64, 64, 128, 1),
        family("dsa_paged").sparse(16, 512, 64, 2048, 64),
        family("moe").definition(
            "fp8_block", "ds", num_experts=256, num_local_experts=32, top_k=8, n_group=8,
            topk_group=4, hidden_size=7168, intermediate_size=2048,
        ),
    ]  # fmt: skip
    return ((one.name, one) for one in made if not names or one.name in names)


def test_the_demo() -> None:
    known = dict(_known(set()))
    targets = [read(path) for path in find(ROOT / "scripts/demo_assets/solutions")]
    assert len(targets) == 6
    for target in targets:
        served = target.definitions(known)
        assert served and not target.findings and target.spec
        for one in served:
            found = check_static(target.spec, one, target.sources_for(one))
            assert codes(found) == [], found


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.json")), ids=lambda path: path.stem)
def test_templates(path: Path) -> None:
    target = read(path)
    known = dict(_known({json.loads(path.read_text())["definition"]}))
    assert known and target.spec and codes(target.findings) == []
    for one in target.definitions(known):
        found = check_static(target.spec, one, target.sources_for(one))
        assert codes(found) == [], found


def test_honest_samples(extra: Path) -> None:
    from kernelkit.dataset.store import Dataset

    known = Dataset.open(extra / "data" / "exploit_samples").definitions()
    honest = sorted((extra / "data" / "exploit_samples" / "solutions").rglob("ctl_*.json"))
    assert honest
    for target in map(read, honest):
        (one,) = target.definitions(known)
        assert target.spec is not None
        found = check_static(target.spec, one, target.sources_for(one))
        wanted = ["KS807"] if "slow_first_call" in target.name else []  # it sleeps, and says so
        assert codes(found) == wanted, (target.name, found)
