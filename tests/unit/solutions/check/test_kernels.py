"""What a kernel stores into is seen through the helpers that it calls, in other files too."""

from __future__ import annotations

import ast

import pytest

from kernelkit.solutions.check.kernels import stored_parameters
from kernelkit.solutions.check.syntax import Module

HELPERS = """
def put(pointer, value, mask):
    tl.store(pointer + tl.arange(0, 4), value, mask=mask)

def add(value, *, to):
    tl.atomic_add(to, value)

def through(there, value):
    put(there, value, None)

def again(pointer):
    again(pointer)
"""


def stored(body: str) -> tuple[set[str], set[str]]:
    """Of `def kernel(x, y, n)` with this body, beside the helpers' file."""
    text = (
        f"from .lib.helpers import add, again, put, through\n\ndef kernel(x, y, n):\n    {body}\n"
    )
    known = {name: Module(name, source)
             for name, source in (("main.py", text), ("lib/helpers.py", HELPERS))}  # fmt: skip
    module = known["main.py"]
    assert isinstance(module.functions["kernel"], ast.FunctionDef)
    return stored_parameters((module, module.functions["kernel"]), known)


@pytest.mark.parametrize(
    ("body", "want", "summed"),
    [
        ("put(y, x, n)", "y", ""),
        ("put(mask=n, value=x, pointer=y + n)", "yn", ""),
        ("through(y, x)", "y", ""),
        ("add(x, to=y)", "y", "y"),
        ("if n:\n        put(y, x, n)", "y", ""),
        ("put(tl.load(x), y, n)", "", ""),
        ("again(y)", "", ""),
        ("foreign(y)", "", ""),
        ("tl.store(x, 0)", "x", ""),
    ],
)
def test_stores_of_helpers_count(body: str, want: str, summed: str) -> None:
    assert stored(body) == (set(want), set(summed))
