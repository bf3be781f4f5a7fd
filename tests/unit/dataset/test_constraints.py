"""The constraint language: what it knows, what it refuses, what it cannot know."""

from __future__ import annotations

import numpy
import pytest

from kernelkit.dataset import constraints
from kernelkit.dataset.constraints import NotKnown, ShapeOnly
from kernelkit.errors import FormatError

SCOPE = {
    "batch_size": 3,
    "len_indptr": 4,
    "topk": 2048,
    "kv_indptr": numpy.array([0, 2, 2, 5], numpy.int32),
    "q": ShapeOnly((3, 8, 128)),
}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("len_indptr == batch_size + 1", True),
        ("len_indptr == batch_size", False),
        ("kv_indptr[-1].item() == 5", True),
        ("kv_indptr[0] != 0", False),
        ("q.shape[-1] == 128 and q.shape[0] == batch_size", True),
        ("not topk % 2048", True),
        ("1 < batch_size <= 3 < len_indptr", True),
        ("1 < batch_size < 3", False),
        ("-batch_size + 4 * 2 // 3 == -1", True),
        ("batch_size == 9 or topk >= 2048.0", True),
    ],
)
def test_evaluate(expression: str, holds: bool) -> None:
    assert constraints.evaluate(expression, SCOPE) is holds


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "open('x')",
        "q.__class__",
        "q.shape.count(1)",
        "kv_indptr.item(1)",
        "[x for x in q.shape]",
        "(lambda: 1)()",
        "kv_indptr[0:2]",
        "kv_indptr[batch_size]",
        "topk ** topk",
        "topk << 5",
        "'a' == 'a'",
        "batch_size if 1 else 2",
        "f'{topk}'",
        "x := 3",
        "a ===",
        "absent == 1",
        "kv_indptr[9] == 1",
        "batch_size % 0 == 1",
    ],
)
def test_refused(expression: str) -> None:
    with pytest.raises(FormatError):
        constraints.evaluate(expression, SCOPE)


@pytest.mark.parametrize("expression", ["q[0].item() == 1", "scale > 0", "scale == 1", "-scale < 1",
                                        "scale.item() == 1", "not scale", "1 + scale == 2",
                                        "scale and topk"])  # fmt: skip
def test_values_that_are_not_at_hand(expression: str) -> None:
    with pytest.raises(NotKnown):
        constraints.evaluate(expression, {**SCOPE, "scale": ShapeOnly(())})


@pytest.mark.parametrize("expression", ["topk", "topk + 1", "q.shape[0]", "-" * 5000 + "1", "a\0"])
def test_no_condition(expression: str) -> None:
    with pytest.raises(FormatError):
        constraints.check(expression)


def test_names() -> None:
    assert constraints.names("a == b[-1].item() + c.shape[0]") == {"a", "b", "c"}
