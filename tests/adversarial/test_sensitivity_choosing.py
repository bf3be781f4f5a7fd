"""sampling and the indexer: wrong kernels are refused at every size, right ones pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.choosing import (  # noqa: E402
    FILTER_FLAWS,
    INDEXER_FLAWS,
    SAMPLER_FLAWS,
    Indexer,
    Sampler,
)
from mutants.trials import assert_passes, refused, run_of, trial  # noqa: E402

from kernelkit.bench.judge import rules  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import family  # noqa: E402

DRAWS = 400
VOCABULARIES = {"small": (128, 2), "large": (1024, 6)}
INDEXERS = {
    "small": ({"batch_size": 2, "num_pages": 8, "max_num_pages": 3}, 128),
    "large": ({"batch_size": 2, "num_pages": 300, "max_num_pages": 128}, 2048),
}


def _passes(definition: Definition, axes: dict[str, int], kernel: Any) -> bool:
    """Every call of the trial by its support, the first and the last by many draws."""
    if refused(definition, axes, kernel):
        return False
    reference = run_of(definition.reference)
    torch.manual_seed(0)
    calls = trial(definition, axes)
    for inputs in (calls[0].inputs, calls[-1].inputs):
        got, want = ({"samples": _draw(run, inputs)} for run in (kernel, reference))
        if rules.judge_draws(got, want, inputs).status is not Status.PASSED:
            return False
    return True


def _draw(kernel: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """[DRAWS, rows], in one call on as many copies of the rows."""
    copies = [x.repeat(DRAWS, *[1] * (x.dim() - 1)) for x in inputs.values()]
    return kernel(*copies).view(DRAWS, -1)


@pytest.mark.parametrize("size", VOCABULARIES)
@pytest.mark.parametrize("kind", FILTER_FLAWS)
def test_sampling(kind: str, size: str) -> None:
    vocabulary, rows = VOCABULARIES[size]
    definition, axes = family("sampling").definition(kind, vocabulary), {"batch_size": rows}
    flaws = (*SAMPLER_FLAWS, *FILTER_FLAWS[kind])
    missed = [flaw for flaw in flaws if _passes(definition, axes, Sampler(definition, flaw))]
    assert not missed
    assert all(_passes(definition, axes, Sampler(definition, seed=seed)) for seed in range(5))


@pytest.mark.parametrize("size", INDEXERS)
def test_indexer(size: str) -> None:
    axes, topk = INDEXERS[size]
    definition = family("dsa_paged").indexer(16, 64, topk)
    missed = [
        name
        for name, flaw in INDEXER_FLAWS.items()
        if not refused(definition, axes, Indexer(definition, **flaw))
    ]
    assert not missed
    assert_passes(definition, axes, Indexer(definition))
