"""The bundled dump, and Llama-3.1-8B's definitions that it was recorded for."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.models.load import load_model
from kernelkit.ops.derivation import Request, derive

ASSETS = Path(__file__).resolve().parents[3] / "scripts" / "demo_assets"
OP_TYPES = ("rmsnorm", "gemm", "gqa_paged", "gqa_ragged", "sampling")


@pytest.fixture
def dump() -> Path:
    """A dump folder of 14 calls, without the data of float tensors."""
    return ASSETS / "dump"


@pytest.fixture(scope="session")
def llama() -> list[Definition]:
    """The definitions at TP 1, page sizes 1 and 64."""
    spec = load_model(None, None, ASSETS / "config.json").spec
    request = Request(tags=("model:llama-3.1-8b",), op_types=OP_TYPES)
    return [variant.definition for variant in derive(spec, request).variants]
