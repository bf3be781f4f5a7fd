"""Indices of an indexer, slot by slot, with scores that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge import topk  # noqa: E402
from kernelkit.bench.judge.compare import OutputError, Verdict  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import dsa_paged, rmsnorm  # noqa: E402
from kernelkit.ops.base import Tolerance  # noqa: E402

SIZE, DIM = 4, 16
EXACT = Tolerance(0.0, 0.0, matched_ratio=0.5)


def _inputs(scores: list[list[float]]) -> dict[str, Any]:
    """Inputs whose tokens have these scores: one head, keys of one times their scale. The slots of
    request r are the pages 3r, 3r + 1 and so on."""
    pages = 3 * len(scores)
    cache = torch.zeros(pages, SIZE * (DIM + 4), dtype=torch.uint8)
    cache[:, : SIZE * DIM] = torch.ones(1).to(torch.float8_e4m3fn).view(torch.uint8)
    held = torch.zeros(pages * SIZE)
    for request, values in enumerate(scores):
        start = request * 3 * SIZE
        held[start : start + len(values)] = torch.tensor(values) / DIM / 2
    cache[:, SIZE * DIM :] = held.view(pages, SIZE).contiguous().view(torch.uint8)
    return {
        "q_index_fp8": torch.ones(len(scores), 1, DIM).to(torch.float8_e4m3fn),
        "k_index_cache_fp8": cache.view(pages, SIZE, 1, DIM + 4).view(torch.int8),
        "weights": torch.full((len(scores), 1), 2.0),
        "seq_lens": torch.tensor([len(values) for values in scores]),
        "block_table": torch.arange(pages).view(len(scores), 3).int(),
    }


def _judge(got: list[list[int]], want: list[list[int]], inputs: dict[str, Any],
           tolerance: Tolerance = EXACT) -> Verdict:  # fmt: skip
    sides = [{topk.OUTPUT: torch.tensor(side, dtype=torch.int32)} for side in (got, want)]
    return topk.judge(dsa_paged.FAMILY.indexer(1, DIM, 4), *sides, inputs, tolerance)


def test_scores_are_those_that_were_put_in() -> None:
    slots, scores = topk.slot_scores(_inputs([[1.0], [5.0, 3.0, 4.0, 1.0, 2.0, 7.0]]), 1)
    assert slots.tolist() == [12, 13, 14, 15, 16, 17]
    assert scores.tolist() == [5.0, 3.0, 4.0, 1.0, 2.0, 7.0]
    count, values = topk.slot_scores(_inputs([[1.0, 2.0, 3.0, 4.0]]), 0)  # one whole page
    assert (count.tolist(), values.tolist()) == ([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0])


def test_what_it_applies_to() -> None:
    inputs = _inputs([[1.0, 2.0]])
    indexer = dsa_paged.FAMILY.indexer(1, DIM, 4)
    assert topk.applies(indexer, inputs)
    assert not topk.applies(indexer, {n: v for n, v in inputs.items() if n != "weights"})
    assert not topk.applies(indexer, {})
    assert not topk.applies(rmsnorm.FAMILY.definition(64, 1e-5), inputs)
    more = SimpleNamespace(outputs={topk.OUTPUT: None, "scores": None})
    assert not topk.applies(more, inputs)  # type: ignore[arg-type]


SCORES = [[9.0, 1.0, 8.0, 2.0, 7.0, 3.0], [5.0, 6.0]]
WANT = [[0, 2, 4, 5], [12, 13, -1, -1]]


@pytest.mark.parametrize(
    ("got", "ratio", "message"),
    [
        (WANT, 1.0, ""),
        ([[5, 4, 2, 0], [-1, 13, -1, 12]], 1.0, ""),
        ([[0, 2, 4, -1], WANT[1]], 0.0, "request 0: 3 indices, expected 4"),
        ([WANT[0], [12, 13, 14, -1]], 0.0, "request 1: 3 indices, expected 2"),
        ([[0, 2, 4, 4], WANT[1]], 0.0, "request 0: an index occurs twice"),
        ([[0, 2, 4, 6], WANT[1]], 0.0, "request 0: an index is no slot of the request"),
        ([[0, 2, 4, 12], WANT[1]], 0.0, "request 0: an index is no slot of the request"),
        ([[0, 2, 4, 3], WANT[1]], 0.75, "request 0: 1 tokens score too low to be taken"),
        ([[0, 2, 1, 3], WANT[1]], 0.5, "request 0: 2 tokens score too low to be taken"),
    ],
)
def test_a_row_of_indices(got: list[list[int]], ratio: float, message: str) -> None:
    verdict = _judge(got, WANT, _inputs(SCORES))
    status = Status.INCORRECT_NUMERICAL if message else Status.PASSED
    outputs = {topk.OUTPUT: OutputError(0.0, 0.0, ratio)}
    assert verdict == Verdict(status, 0.0, 0.0, ratio, message, outputs)


def test_a_request_without_tokens_has_no_indices() -> None:
    inputs = _inputs([[], [5.0]])
    assert _judge([[-1, -1], [12, -1]], [[-1, -1], [12, -1]], inputs).matched_ratio == 1.0
    assert _judge([[0, -1], [12, -1]], [[-1, -1], [12, -1]], inputs).status is not Status.PASSED
    assert _judge([[-1]], [[-1]], _inputs([[]])).matched_ratio == 1.0


def test_no_requests_pass() -> None:
    verdict = topk.judge(
        dsa_paged.FAMILY.indexer(1, DIM, 4),
        *[{topk.OUTPUT: torch.zeros(0, 4).int()}] * 2, _inputs([[1.0]]), EXACT,
    )  # fmt: skip
    assert verdict == Verdict(Status.PASSED, outputs={topk.OUTPUT: OutputError()})


@pytest.mark.parametrize(("off", "passed"), [(0.009, True), (0.011, False)])
def test_nearly_equal_scores_are_taken_either_way(off: float, passed: bool) -> None:
    """A hundredth of the scores' spread, from either side of the cut."""
    values = torch.tensor([0.0, 10.0, 5.0, 5.0])
    spread = float(values.std(correction=0))
    for place, sign in ((2, 1), (3, -1)):
        moved = values.clone()
        moved[place] += sign * off * spread
        inputs = _inputs([moved.tolist()])
        verdict = _judge([[1, 3]], [[1, 2]], inputs)
        assert (verdict.status is Status.PASSED) is passed, verdict.message


def test_a_single_token_has_no_spread() -> None:
    assert _judge([[0]], [[0]], _inputs([[5.0]])).status is Status.PASSED


def test_two_tokens_have_one() -> None:
    """Of 5 and 5.001 each may be the best; of 5 and 6 one."""
    assert _judge([[0]], [[0]], _inputs([[5.0, 6.0]])).status is not Status.PASSED
    assert _judge([[0]], [[1]], _inputs([[5.0, 5.0]]), Tolerance(0.0, 0.0, 0.0)).status is (
        Status.PASSED
    )


def test_a_better_token_that_is_left_out() -> None:
    """Two of nearly the last score are taken, in the place of better ones."""
    inputs = _inputs([[9.0, 8.0, 5.0, 5.0, 5.0, 1.0]])
    verdict = _judge([[0, 2, 3]], [[0, 1, 2]], inputs)
    assert verdict.message == "request 0: 1 tokens of higher score are left out"
    assert verdict.matched_ratio == pytest.approx(2 / 3)
    verdict = _judge([[2, 3, 4]], [[0, 1, 2]], inputs)
    assert verdict.message == "request 0: 2 tokens of higher score are left out"


def test_too_few_of_the_references_tokens() -> None:
    """All scores are equal: nothing but the share says something."""
    inputs = _inputs([[5.0] * 8])
    half = _judge([[0, 1, 4, 5]], [[0, 1, 2, 3]], inputs)
    assert (half.status, half.matched_ratio) == (Status.PASSED, 0.5)
    less = _judge([[0, 7, 4, 5]], [[0, 1, 2, 3]], inputs)
    assert less.message == "request 0: 25.0% of the tokens are the reference's"


@pytest.mark.parametrize(("bad", "more"), [(3, ""), (4, " and 1 more"), (5, " and 2 more")])
def test_three_reasons_are_named(bad: int, more: str) -> None:
    inputs = _inputs([[5.0, 6.0]] * bad)
    want = [[12 * request, 12 * request + 1] for request in range(bad)]
    verdict = _judge([[0, 0]] * bad, want, inputs)
    assert verdict.message.count("request ") == 3
    assert verdict.message.endswith(f"occurs twice{more}")
    assert verdict.matched_ratio == 0.0
