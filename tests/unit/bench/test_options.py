"""Command-line values."""

from __future__ import annotations

import argparse

import pytest

from kernelkit.bench.options import positive_int, seconds


def test_right_values() -> None:
    assert positive_int("3") == 3
    assert seconds("0.5") == 0.5


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_no_positive_integer(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive_int(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)
