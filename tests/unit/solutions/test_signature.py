"""The entry function's head comes from the definition, its body stays."""

from __future__ import annotations

import ast

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.errors import FormatError
from kernelkit.solutions.signature import docstring, with_head


@pytest.fixture
def definition() -> Definition:
    """Two tensors (one optional), scalars of each kind, two outputs."""
    return Definition.model_validate({
        "name": "op_n8", "op_type": "op", "description": 'Says "why" \\ and """how""".',
        "axes": {"m": {"type": "var"}, "n": {"type": "const", "value": 8}},
        "inputs": {
            "x": {"shape": ["m", "n"], "dtype": "bfloat16", "description": "Rows. " * 30},
            "state": {"shape": ["n"], "dtype": "float32", "optional": True},
            "scale": {"shape": None, "dtype": "float32"},
            "top_k": {"shape": None, "dtype": "int32"},
            "neox": {"shape": None, "dtype": "bool", "optional": True},
        },
        "outputs": {
            "y": {"shape": ["m", "n"], "dtype": "bfloat16"},
            "lse": {"shape": ["m"], "dtype": "float32"},
        },
        "reference": "def run(x, state, scale, top_k, neox):\n    return x, x\n",
    })  # fmt: skip


HEAD = """def run(
    x: torch.Tensor,
    state: torch.Tensor | None,
    scale: float,
    top_k: int,
    neox: bool | None,
"""


def _function(text: str, name: str = "run") -> ast.FunctionDef:
    (found,) = [n for n in ast.parse(text).body if getattr(n, "name", "") == name]
    return found


@pytest.mark.parametrize(
    "body",
    [
        "def run(x, state, scale, top_k, neox):\n    # why\n    return x, x\n",
        'def run(x, state, scale, top_k, neox):\n    """Old\n    text."""\n    # why\n    return x, x\n',  # noqa: E501
        "def run(\n    x: int, state={1: 2}, scale=(1, 2), top_k=lambda: 1, neox=None,\n"
        ") -> dict[str, int]:  # noqa\n    # why\n    return x, x\n",
    ],
)
def test_head_and_docstring_are_replaced(definition: Definition, body: str) -> None:
    text = with_head(f"import torch\n\n\n@torch.no_grad()\n{body}", definition)
    assert text.startswith("import torch\n\n\n@torch.no_grad()\n" + HEAD)
    assert ") -> tuple[torch.Tensor, torch.Tensor]:\n" in text
    assert text.endswith('    """\n    # why\n    return x, x\n')
    assert "Old" not in text
    function = _function(text)
    assert ast.unparse(function.body[-1]) == "return (x, x)"
    assert len(function.decorator_list) == 1


def test_what_the_docstring_says(definition: Definition) -> None:
    text = ast.literal_eval(docstring(definition).strip())
    assert text.startswith(
        "Says \"why\" \\ and '''how'''.\n\nInputs:\n    x: [m, n=8] bfloat16. Rows."
    )
    assert "    state: [n=8] float32, may be None.\n    scale: scalar float32.\n" in text
    assert text.endswith("Outputs:\n    y: [m, n=8] bfloat16.\n    lse: [m] float32.\n")
    assert max(map(len, text.splitlines())) <= 96


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("def run(x, state, scale, top_k, neox): return x, x\n", "return (x, x)"),
        ("def run(x, state, scale, top_k, neox): a = 1; return a, x\n", "return (a, x)"),
        ("def run(x, state, scale, top_k, neox):\n\treturn x, x\n", "return (x, x)"),
        ("def run(x, state, scale, top_k, neox):\n  return x, x\n", "return (x, x)"),
    ],
)
def test_other_layouts_of_a_body(definition: Definition, text: str, last: str) -> None:
    made = _function(with_head(text, definition))
    assert ast.unparse(made.body[-1]) == last
    assert ast.get_docstring(made)


def test_outputs_as_arguments(definition: Definition) -> None:
    text = "def go(x, state, scale, top_k, neox, y, lse):\n    y.copy_(x)\n"
    made = with_head(text, definition, symbol="go", destinations=True)
    assert "    lse: torch.Tensor,\n) -> None:\n" in made
    assert [a.arg for a in _function(made, "go").args.args][-2:] == ["y", "lse"]


def test_order_and_defaults(definition: Definition) -> None:
    shuffled = "def run(scale, x, state, top_k, neox, block=64):\n    return x, x\n"
    made = _function(with_head(shuffled, definition, reorder=True))
    assert [a.arg for a in made.args.args] == [*definition.inputs, "block"]
    assert [ast.unparse(d) for d in made.args.defaults] == ["64"]
    with pytest.raises(FormatError, match="other arguments than the definition"):
        with_head(shuffled, definition)


@pytest.mark.parametrize(
    "arguments",
    ["x", "x, state, scale, top_k, other", "x, state, scale, top_k, neox, more",
     "*all", "x, state, scale, top_k, neox, *more", "x, state, scale, top_k, neox, **more"],
)  # fmt: skip
def test_arguments_that_do_not_fit(definition: Definition, arguments: str) -> None:
    with pytest.raises(FormatError, match="other arguments"):
        with_head(f"def run({arguments}):\n    return x, x\n", definition, reorder=True)


def test_a_function_that_is_absent(definition: Definition) -> None:
    with pytest.raises(FormatError, match="no top-level function 'run'"):
        with_head("run = print\n", definition)
