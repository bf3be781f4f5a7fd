"""Entries of real configs, and the file that they go into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit.models.load import Model, load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.webmodel.entry import Entry
from kernelkit.webmodel.generate import Generated, Wanted, generate
from kernelkit.webmodel.mapping import Sizes

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CONFIGS = sorted((FIXTURES / "configs").glob("*.json"))


@pytest.fixture
def model_of() -> Callable[[str], Model]:
    """The model of the fixture config whose file name begins so, after its organisation."""

    def find(name: str) -> Model:
        found = [path for path in CONFIGS if path.stem.split("__")[1].startswith(name)]
        return load_model(None, None, min(found, key=lambda path: len(path.stem)))

    return find


@pytest.fixture
def made(model_of: Callable[[str], Model]) -> Callable[..., Generated]:
    """Generates from a fixture config, at TP 1."""

    def make(name: str, **options: object) -> Generated:
        sizes = Sizes((Parallelism(),))
        return generate(model_of(name), Wanted(sizes, **options))  # type: ignore[arg-type]

    return make


@pytest.fixture
def entry(made: Callable[..., Generated]) -> Entry:
    """A real entry."""
    return made("Llama-3.1-8B").entry


@pytest.fixture
def page() -> bytes:
    """A models.ts with much that looks like an entry and is none."""
    return (FIXTURES / "web" / "models.ts").read_bytes()
