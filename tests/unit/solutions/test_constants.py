"""Constants of a source are set where they stand; nothing else changes."""

from __future__ import annotations

import pytest

from kernelkit.ops import rmsnorm
from kernelkit.solutions.constants import (
    constant_names,
    fill,
    set_constants,
    set_constexpr,
    values_of,
)


def test_constants_change_at_top_level_only() -> None:
    text = "EPS = 1\ndef f():\n    EPS = 2\nEPSILON = 3\n"
    changed = set_constants(text, {"eps": 0.5, "absent": None, "epsilon": None})
    assert changed == "EPS = 0.5\ndef f():\n    EPS = 2\nEPSILON = 3\n"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('"""\nN = 1\n"""\nN = 2  # rows\n', '"""\nN = 1\n"""\nN = 7  # rows\n'),
        ("N: int = -2\n", "N: int = 7\n"),
        ("N = (\n    2\n)\nM = 3\n", "N = (\n    7\n)\nM = 3\n"),
        ("é = 'ü'; N = 2; M = 3\n", "é = 'ü'; N = 7; M = 3\n"),
        ("N = 2\r\nM = 3\r\n", "N = 7\r\nM = 3\r\n"),
        ("x = 1\x0c\nN = 2\n", "x = 1\x0c\nN = 7\n"),
        ("N = M = 2\n", "N = M = 2\n"),
        ("N = len('ab')\n", "N = len('ab')\n"),
        ("n = 2\nN += 1\n", "n = 2\nN += 1\n"),
        ("N = 2", "N = 7"),
        ("def run(:\nN = 2\n", "def run(:\nN = 2\n"),
    ],
)
def test_forms_of_a_constant(text: str, want: str) -> None:
    assert set_constants(text, {"n": 7}) == want


def test_names_in_order() -> None:
    assert constant_names("B = 1\nA: float = 0.5\nlower = 2\nC = f()\n") == ["B", "A"]


def test_constants_of_cuda_sources() -> None:
    text = "constexpr int N = 1;  // rows\nconstexpr bool NEOX = true;\n  constexpr int N = 2;\n"
    assert set_constexpr(text, {"n": 8, "neox": False, "x": None}) == (
        "constexpr int N = 8;  // rows\nconstexpr bool NEOX = false;\n  constexpr int N = 2;\n"
    )
    assert fill("a.cuh", text, {"n": 8}).startswith("constexpr int N = 8;")
    assert fill("a.txt", "N = 1\n", {"n": 8}) == "N = 1\n"
    assert fill("a.py", "N = 1\n", {"n": 8}) == "N = 8\n"


def test_values_of_a_definition() -> None:
    definition = rmsnorm.FAMILY.definition(64, 1e-5)
    assert values_of(definition) == {"hidden_size": 64, "eps": 1e-5}
    other = definition.model_copy(update={"op_type": "softmax"})
    assert values_of(other) == {"hidden_size": 64}
