"""A dataset with some files of three models, and the hand-kept coverage document."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive

sys.path.insert(0, str(Path(__file__).parent))

from inventory_models import FIXTURES, model_of  # noqa: E402

HELD = {
    "meta-llama__Llama-3.1-8B": ("rmsnorm", "gemm", "gqa_paged"),
    "Qwen__Qwen3-30B-A3B": ("rmsnorm", "gemm"),
}
COLLECTED = ("rmsnorm_h4096", "gemm_n6144_k4096")


@pytest.fixture(scope="session")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HELD's definitions at TP 1, workloads for COLLECTED."""
    dataset = Dataset.create(tmp_path_factory.mktemp("derived"))
    for name, op_types in HELD.items():
        model = model_of(name)
        request = Request((f"model:{model.slug}",), (Parallelism(),), op_types=op_types)
        for variant in derive(model.spec, request).variants:
            dataset.write_definition(variant.definition)
            if variant.definition.name in COLLECTED:
                path = dataset.workload_path(variant.definition)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}\n{}\n")
    return dataset.root


@pytest.fixture
def held(derived: Path, tmp_path: Path) -> Dataset:
    """A copy of `derived` that a test may change."""
    shutil.copytree(derived, tmp_path / "held")
    return Dataset.open(tmp_path / "held")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A copy of the hand-kept document."""
    path = tmp_path / "model_coverage.mdx"
    path.write_bytes((FIXTURES / "coverage" / "kept_by_hand.mdx").read_bytes())
    return path
