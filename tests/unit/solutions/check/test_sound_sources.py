"""What is right stays silent: references, the demo's solutions, templates, honest samples."""

from __future__ import annotations

import json
import sys
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
sys.path.insert(0, str(ROOT / "tests" / "templates"))

from served import definitions  # noqa: E402

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


def test_the_demo() -> None:
    known = definitions()
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
    target, name = read(path), json.loads(path.read_text())["definition"]
    known = {name: definitions()[name]}
    assert target.spec and codes(target.findings) == []
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
