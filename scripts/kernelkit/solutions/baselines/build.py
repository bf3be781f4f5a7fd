"""From a baseline's source to a Solution: constants set, `run` and `setup` with the definition's
own arguments."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.errors import FormatError
from kernelkit.solutions.baselines.catalogue import Baseline
from kernelkit.solutions.constants import set_constants, values_of
from kernelkit.solutions.documents import check_entry, parse
from kernelkit.solutions.signature import with_head

FOLDER = Path(__file__).parent / "sources"
MAIN = "main.py"
AUTHOR = "baseline"
COMPUTE, PREPARE = "compute", "prepare"
_SCALARS = {"int": "int", "bool": "bool"}


def solution(definition: Definition, baseline: Baseline, author: str) -> Solution:
    """The baseline as a Solution of the definition.

    Raises FormatError where the definition's inputs are not those that the source takes.
    """
    values = {**values_of(definition), **baseline.constants(definition)}
    sources = {MAIN: _main(definition, baseline)}
    sources |= {path: _text(path) for path in baseline.files}
    document = {
        "name": name_of(definition, baseline, author),
        "definition": definition.name,
        "author": author,
        "description": baseline.description,
        "spec": {
            "language": "python",
            "target_hardware": list(baseline.hardware),
            "entry_point": f"{MAIN}::run",
            "dependencies": baseline.dependencies,
            "destination_passing_style": False,
            "binding": None,
        },
        "sources": [{"path": p, "content": set_constants(t, values)} for p, t in sources.items()],
    }
    made = parse(document, document["name"])
    check_entry(made, document["name"])
    return made


def name_of(definition: Definition, baseline: Baseline, author: str) -> str:
    """The solution's name, unique in a dataset: another author's has the author in front."""
    plain = f"{baseline.provider}_{definition.name}"
    return plain if author == AUTHOR else f"{author}_{plain}"


def _main(definition: Definition, baseline: Baseline) -> str:
    text = _text(f"{baseline.source}.py")
    functions = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    taken = _taken(functions[COMPUTE])
    names = list(definition.inputs)
    if unfit := (set(names) - taken.keys()) | {
        name for name, needed in taken.items() if needed and name not in names
    }:
        raise FormatError(
            f"{definition.name}: the baseline {baseline.source} takes other inputs",
            received=", ".join(names), allowed=", ".join(taken), next_step=f"see {sorted(unfit)}",
        )  # fmt: skip
    if PREPARE in functions:
        prepared = [name for name in names if name in _taken(functions[PREPARE])]
        text += _setup(definition, prepared)
    handed = names if names == list(taken)[: len(names)] else [f"{n}={n}" for n in names]
    text += "\n\n@torch.no_grad()\n" + _caller("run", names, handed, COMPUTE, "return ")
    return with_head(text, definition)


def _taken(function: ast.FunctionDef) -> dict[str, bool]:
    """The function's arguments, and whether each must be given."""
    arguments = function.args.args
    plain = len(arguments) - len(function.args.defaults)
    return {argument.arg: place < plain for place, argument in enumerate(arguments)}


def _setup(definition: Definition, names: list[str]) -> str:
    def annotated(name: str) -> str:
        spec = definition.inputs[name]
        if spec.shape is not None:
            return f"{name}: torch.Tensor"
        return f"{name}: {_SCALARS.get(spec.dtype.value.rstrip('0123456789'), 'float')}"

    arguments = [annotated(name) for name in names]
    text = (
        '"""Before the first run, and whenever the contents of the index tensors change."""\n    '
    )
    handed = [f"{name}={name}" for name in names]
    return "\n\n@torch.no_grad()\n" + _caller("setup", arguments, handed, PREPARE, text, " -> None")


def _caller(
    name: str, arguments: list[str], handed: list[str], called: str, before: str, returns: str = ""
) -> str:
    """A function that hands its arguments on to another."""
    head = "".join(f"    {argument},\n" for argument in arguments)
    body = "".join(f"        {text},\n" for text in handed)
    return f"def {name}(\n{head}){returns}:\n    {before}{called}(\n{body}    )\n"


@functools.cache
def _text(path: str) -> str:
    return (FOLDER / path).read_text(encoding="utf-8")
