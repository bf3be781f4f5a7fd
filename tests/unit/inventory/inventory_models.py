"""Models that the tests of kernelkit.inventory share."""

from __future__ import annotations

from pathlib import Path

from kernelkit.models.load import Model, load_model

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def model_of(name: str) -> Model:
    """A bundled model by its file's stem."""
    return load_model(None, None, FIXTURES / "configs" / f"{name}.json")
