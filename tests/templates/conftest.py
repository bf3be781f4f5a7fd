"""What the tests of templates share: real definitions, small ones of every family, and a loader."""

from __future__ import annotations

import functools
import importlib
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive

CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
DEGREES = tuple(Parallelism(tp=degree) for degree in (1, 2, 4, 8))
NUMBERS = itertools.count()


@functools.cache
def every_real_definition() -> dict[str, Definition]:
    """What follows from the bundled configs, by name; the first of a name counts."""
    found: dict[str, Definition] = {}
    for config in sorted(CONFIGS.glob("*.json")):
        spec = load_model(None, None, config).spec
        for variant in derive(spec, Request(parallel=DEGREES)).variants:
            found.setdefault(variant.definition.name, variant.definition)
    return found


def every_small_definition() -> list[Definition]:
    """Definitions of every op type that a CPU runs in no time."""
    norm, gqa, mla = (ops.family(n).definition for n in ("rmsnorm", "gqa_paged", "mla_paged"))
    gdn, moe, dsa = (ops.family(n) for n in ("gdn", "moe", "dsa_paged"))
    sizes = {"num_experts": 4, "top_k": 2, "hidden_size": 128, "intermediate_size": 128}
    return [
        *(norm(48, 1e-4, fused=f, gemma=g) for f in (False, True) for g in (False, True)),
        ops.family("gemm").definition(24, 40),
        *(gqa(4, 2, 16, size, prefill=p) for size in (1, 4) for p in (False, True)),
        ops.family("gqa_ragged").definition(4, 2, 16),
        *(mla(4, 32, 16, size, prefill=p) for size in (1, 4) for p in (False, True)),
        ops.family("mla_ragged").definition(4, 24, 16),
        dsa.sparse(4, 32, 16, 8, 4),
        dsa.indexer(4, 32, 16),
        *(gdn.definition(2, 4, 16, stage=stage) for stage in ("decode", "mtp", "prefill")),
        ops.family("mamba_ssu").definition(4, 16, 16, 2),
        *(moe.definition(kind, "renorm", **sizes) for kind in ("fp8_block", "fp4_block")),
        moe.definition("bf16", None, **sizes),
        *(ops.family("rope").definition(16, 8, neox=neox) for neox in (False, True)),
        *(ops.family("sampling").definition(k, 40) for k in ("top_k", "top_p", "top_k_top_p")),
    ]


SMALL = every_small_definition()


@pytest.fixture(scope="session")
def real_definitions() -> dict[str, Definition]:
    """Definitions of the bundled models, by name."""
    return every_real_definition()


@pytest.fixture(scope="session")
def small_ones() -> list[Definition]:
    """Small definitions of every op type."""
    return SMALL


@pytest.fixture(params=SMALL, ids=lambda definition: definition.name)
def small(request: pytest.FixtureRequest) -> Definition:
    """Each of the small definitions."""
    return request.param


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], object]:
    """Write the files of a solution, by path, and import its main.py as a package's module."""

    def loaded(files: dict[str, str]) -> types.ModuleType:
        name = f"solution_{next(NUMBERS)}"
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text, encoding="utf-8")
        package = types.ModuleType(name)
        package.__path__ = [str(tmp_path / name)]
        monkeypatch.setitem(sys.modules, name, package)
        return importlib.import_module(f"{name}.main")

    return loaded
