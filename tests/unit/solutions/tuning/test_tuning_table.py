"""The tables of a tuned main.py: read, written back, by size."""

from __future__ import annotations

import pytest

from kernelkit.errors import FormatError
from kernelkit.solutions.templates import load_all
from kernelkit.solutions.tuning import table

TEXT = """import torch

TUNING = {"size": "M", "parameters": {"A": [1, 2], "B": [True, False]}}

# tuned: begin (by hand)
TUNED = [{"up_to": 8, "A": 1, "B": True}, {"up_to": None, "A": 2, "B": False}]
# tuned: end


def run(A, B):
    return A
"""


def test_rows_go_by_size() -> None:
    tables = table.read(TEXT)
    assert tables.size == "M" and tables.space == {"A": [1, 2], "B": [True, False]}
    assert tables.row(8) == {"A": 1, "B": True}
    assert tables.row(9) == tables.row(10**9) == {"A": 2, "B": False}


def test_written_rows_are_read_back_and_nothing_else_changes() -> None:
    rows = [{"up_to": 3, "A": 2, "B": True}, {"up_to": None, "A": 1, "B": False}]
    text = table.with_rows(TEXT, rows)
    assert table.read(text).rows == rows
    assert text.partition("TUNED =")[0] == TEXT.partition("TUNED =")[0]
    assert text.partition("# tuned: end")[2] == TEXT.partition("# tuned: end")[2]
    assert table.with_rows(text, rows) == text


def test_neighbours_that_agree_share_a_row() -> None:
    low, high = {"A": 1}, {"A": 2}
    assert table.rows_of({1: low, 16: low, 64: high, 1024: high}) == [
        {"up_to": 32, "A": 1}, {"up_to": None, "A": 2},
    ]  # fmt: skip
    assert table.rows_of({5: low}) == [{"up_to": None, "A": 1}]
    rows = table.rows_of({1: low, 4: high, 16: low})
    assert rows == [{"up_to": 2, "A": 1}, {"up_to": 8, "A": 2}, {"up_to": None, "A": 1}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# tuned: end\n", "", "nothing to tune"),
        ("TUNING =", "OTHER =", "nothing to tune"),
        ('"A": 2, "B": False}', '"A": 2}', "not of TUNING's names"),
        ('"up_to": None', '"up_to": 99', "the last row"),
    ],
)
def test_faults_are_named(old: str, new: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        table.read(TEXT.replace(old, new))


def test_templates_that_say_they_can_be_tuned() -> None:
    mains = {t.name: t.main for t in load_all() if "\nTUNING = " in t.main}
    assert len(mains) >= 15
    for name, text in mains.items():
        tables = table.read(text, name)
        for row in tables.rows:
            for parameter, values in tables.space.items():
                assert row[parameter] in values, f"{name}: {parameter} of TUNED is not in TUNING"
        assert table.with_rows(text, tables.rows) == text
