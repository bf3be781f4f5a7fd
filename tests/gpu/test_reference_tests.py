"""The generated reference tests of four models on a GPU, against the libraries' own kernels.

Definitions follow from the configs in tests/fixtures/configs: Llama-3.1-8B (GQA, 16-bit GEMM),
Qwen3-30B-A3B (GQA, experts), Qwen3-Next (GDN, GQA, experts), DeepSeek-V3 (MLA, float8 experts).
FlashInfer compiles its kernels at first use, which takes minutes for each op type. To look into one
of them: pytest tests/gpu/test_reference_tests.py -s -k gdn
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.models.load import load_model  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import OP_TYPES, placement  # noqa: E402
from kernelkit.ops.derivation import Request, derive  # noqa: E402
from kernelkit.reftests import session as sessions  # noqa: E402
from kernelkit.reftests.plan import SIZE_NAMES, Truth  # noqa: E402
from kernelkit.reftests.plans import plan_of  # noqa: E402
from kernelkit.reftests.write import Options  # noqa: E402

pytestmark = pytest.mark.gpu
CONFIGS = Path(__file__).parents[1] / "fixtures" / "configs"
MODELS = {
    "meta-llama__Llama-3.1-8B.json": Parallelism(tp=1),
    "Qwen__Qwen3-30B-A3B.json": Parallelism(tp=1, ep=2),
    "Qwen__Qwen3-Next-80B-A3B-Instruct.json": Parallelism(tp=2, ep=4),
    "deepseek-ai__DeepSeek-V3.json": Parallelism(tp=8, ep=8),
}
TIMEOUT_S = 900.0  # a file, compilation included


@pytest.fixture(scope="module")
def four_models(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with all definitions of the four models, each in one serving configuration."""
    dataset = Dataset.create(tmp_path_factory.mktemp("models"))
    for config, parallel in MODELS.items():
        spec = load_model(None, None, CONFIGS / config).spec
        found = derive(spec, Request(parallel=(parallel,), page_sizes=(1, 64)))
        assert not found.skipped
        for outcome in placement.place(dataset, found.variants, refresh=False):
            assert outcome.action != "conflict", outcome
            dataset.write_definition(outcome.definition)
    return dataset


@pytest.mark.parametrize("op_type", OP_TYPES)
def test_references_agree_with_kernels(four_models: Dataset, op_type: str) -> None:
    if not (four_models.root / "definitions" / op_type).is_dir():
        pytest.skip("none of the four models has it")
    chosen = sessions.select(four_models, sessions.Selection(op_types=(op_type,)))
    session = sessions.write_tests(four_models, chosen, Options(SIZE_NAMES), dry_run=False)
    assert not session.unsupported and not session.errors
    sessions.run_tests(four_models, session, TIMEOUT_S, lambda rows: rows)
    print(sessions.as_text(four_models, session, False))
    for name, record in session.records.items():
        assert record["status"] == "passed", f"{name}: {record['failures'] or record}"
    absent = set()
    for name, definition in session.definitions.items():
        absent |= _unproven(plan_of(definition).truths, session.records[name], name)
    if absent:
        pytest.skip(f"not installed: {', '.join(sorted(absent))}")


def _unproven(truths: tuple[Truth, ...], record: dict[str, Any], name: str) -> set[str]:
    """The packages for want of which a ground truth was skipped; none may be skipped otherwise in
    the small size."""
    absent = set()
    for truth in truths:
        if truth.package and importlib.util.find_spec(truth.package) is None:
            absent.add(truth.package)
        else:
            outcome = record["ground_truth"][truth.name]["small"]
            assert outcome["outcome"] == "passed", f"{name}: {truth.name}: {outcome}"
    return absent
