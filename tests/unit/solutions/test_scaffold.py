"""A scaffold from a reference that others wrote: imports, constants, order of arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.errors import FormatError
from kernelkit.solutions.scaffold import notes, scaffold, with_constants
from kernelkit.solutions.templates import load_all

DENSE = next(template for template in load_all() if template.name == "dense_baseline")


def _definition(reference: str) -> Definition:
    rows = {"shape": ["m", "n"], "dtype": "bfloat16"}
    return Definition.model_validate({
        "name": "op_n8", "op_type": "made_up",
        "axes": {"m": {"type": "var"}, "n": {"type": "const", "value": 8},
                 "k": {"type": "const", "value": 4}, "1st": {"type": "const", "value": 1}},
        "inputs": {"x": rows, "w": {"shape": ["n", "k"], "dtype": "bfloat16"}},
        "outputs": {"y": rows}, "reference": reference,
    })  # fmt: skip


def _main(reference: str) -> str:
    files = scaffold(_definition(reference), DENSE, own=False, author="a", name="n")
    return files["main.py"]


def test_a_bare_reference_gets_imports_constants_and_a_docstring() -> None:
    text = _main("def run(x, w):\n    return x")
    assert text.startswith(
        '"""op_n8 in plain PyTorch."""\n\nimport torch\n\n# The definition\'s const axes.\n'
        "N = 8\nK = 4\n\ndef run(\n    x: torch.Tensor,\n"
    )
    assert text.endswith('    """\n    return x\n')


def test_names_that_the_reference_uses_are_left_alone() -> None:
    reference = '"""What."""\nfrom torch import nn\nimport torch\n\nN = 9\n\ndef run(x, w):\n    K = 1\n    return x\n'  # noqa: E501
    text = with_constants(reference, _definition(reference))
    assert text == reference  # N is the reference's own, K a name in its body


def test_arguments_in_another_order_become_the_definitions() -> None:
    text = _main("import torch\ndef run(w, x):\n    return x @ w\n")
    assert "def run(\n    x: torch.Tensor,\n    w: torch.Tensor,\n) -> torch.Tensor:" in text


def test_a_reference_of_other_arguments_is_refused() -> None:
    with pytest.raises(FormatError, match="op_n8: run has other arguments"):
        _main("def run(x, weight):\n    return x\n")


@pytest.mark.parametrize("field", ["author", "name"])
def test_names_are_checked_before_anything_is_written(field: str) -> None:
    definition = _definition("def run(x, w):\n    return x\n")
    with pytest.raises(FormatError, match="cannot be a file name"):
        scaffold(definition, DENSE, own=False, **{"author": "a", "name": "n", field: "a/b"})


def test_the_next_commands_quote_what_a_shell_would_split() -> None:
    definition = _definition("def run(x, w):\n    return x\n")
    text = notes(definition, Path("my folder"), Path("a b/dataset"), "my name")
    assert "check_solution.py 'my folder' --dataset 'a b/dataset' --smoke" in text
    assert "--definitions op_n8 --solutions 'my name'" in text
