"""Renders a definition's test file, and says what writing it would change."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import places
from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.ops import family
from kernelkit.ops.base import Tolerance
from kernelkit.reftests import bundle
from kernelkit.reftests.plan import SIZE_NAMES, NoPlanError, Plan, Truth
from kernelkit.reftests.plans import plan_of

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "reference_test.py.j2"
FOLDER = ("tests", "references")
LINE_WIDTH = 100
MARK = "# generated: sha256 of the lines above "
COMPARISONS = {
    "values": [("compare_values", "compare")],
    "samples": [("compare_samples", "compare_draws"), ("pointwise_inputs", "ROWS")],
    "topk": [("compare_topk", "compare_indices")],
}
# What the template itself uses.
IMPORTS = (
    "import importlib.util", "import json", "import math", "import os", "import pytest",
    "import torch", "from collections.abc import Callable", "from dataclasses import dataclass",
    "from pathlib import Path",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What a person may choose: the sizes, and one tolerance (absolute and relative) for all."""

    sizes: tuple[str, ...] = SIZE_NAMES
    tolerance: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Written:
    """What became of one file: new, renewed (ours, unedited), unchanged, kept (edited, or written
    by someone else), overwritten."""

    name: str
    path: Path
    action: str
    truths: tuple[str, ...]


def test_path(dataset: Dataset, definition: Definition) -> Path:
    """Where a definition's test stands."""
    return dataset.root.joinpath(*FOLDER, f"test_{definition.name}.py")


def write(
    dataset: Dataset, path: Path, definition: Definition, options: Options, *, dry_run: bool
) -> Written:
    """Writes the test of the definition in the file `path`. Raises NoPlanError."""
    plan = plan_of(definition)
    text = render(dataset, path, definition, plan, options)
    target = test_path(dataset, definition)
    action = _action(target, text, force=options.force)
    if not dry_run and action not in ("kept", "unchanged"):
        atomic.write_text(target, text)
    return Written(definition.name, target, action, tuple(truth.name for truth in plan.truths))


def _action(target: Path, text: str, *, force: bool) -> str:
    if not target.is_file():
        return "new"
    held = target.read_text(encoding="utf-8", errors="replace")
    if held == text:
        return "unchanged"
    if is_untouched(held):
        return "renewed"
    return "overwritten" if force else "kept"


def is_untouched(text: str) -> bool:
    """Whether a file is as it was generated."""
    body, found, digest = text.rpartition(MARK)
    return bool(found) and digest.strip() == _digest(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def render(
    dataset: Dataset, path: Path, definition: Definition, plan: Plan, options: Options
) -> str:
    """The text of the test file."""
    sections = [
        [plan.inputs],
        [(truth.part, truth.function) for truth in plan.truths],
        COMPARISONS[plan.mode],
    ]
    made = bundle.bundle(sections, plan.constants, IMPORTS)
    _check_inputs(definition, "\n".join(made.sections[0]))
    sizes = {name: axes for name, axes in plan.sizes.items() if name in options.sizes}
    text = _environment().get_template(TEMPLATE).render(
        definition=definition,
        file_name=test_path(dataset, definition).name,
        stem=path.stem,
        definition_folder=dataset.relative(path.parent),
        workload_folder=dataset.relative(dataset.workload_path(definition).parent),
        truths=[_truth_row(truth, sizes) for truth in plan.truths],
        imports="\n".join(["from __future__ import annotations", "", *made.imports]),
        sections=[_joined(section) for section in made.sections],
        sizes=[_size_entry(name, axes) for name, axes in sizes.items()],
        reduced=_smaller(reduced_axes(definition, plan)),
        mode=plan.mode,
        tolerances=_tolerances(definition, options.tolerance),
        inputs_function=plan.inputs[1],
    )  # fmt: skip
    body = _tidy(text)
    return f"{body}{MARK}{_digest(body)}\n"


def _check_inputs(definition: Definition, text: str) -> None:
    """Raises NoPlanError where the functions that make inputs know nothing of one."""
    if unknown := [name for name in definition.inputs if f'"{name}"' not in text]:
        raise NoPlanError(
            f"{definition.name}: not the interface of a {definition.op_type} definition",
            received=f"inputs {', '.join(unknown)}",
            next_step="hold it against the definitions that derive_definitions.py writes",
        )


def _truth_row(truth: Truth, sizes: Mapping[str, object]) -> dict[str, object]:
    part = bundle.load(truth.part)
    summary = inspect.cleandoc(ast.get_docstring(part.nodes[truth.function]) or "")
    first = " ".join(summary.split("\n\n")[0].split())
    return {
        "name": truth.name,
        "function": truth.function,
        "package": truth.package,
        "capability": truth.capability,
        "sizes": tuple(name for name in truth.sizes if name in sizes),
        "text": _described(truth, first.rstrip(".")),
    }


def _described(truth: Truth, text: str) -> str:
    """A list entry of the file's docstring."""
    needs = "needs a GPU" if truth.is_kernel else "any device"
    line = f"- {truth.name}: {text} ({needs})"
    return textwrap.fill(line, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def reduced_axes(definition: Definition, plan: Plan) -> dict[str, int]:
    """The plan's reductions, unless the reference names one of the real sizes: then it would not
    run with others."""
    literals = {
        node.value
        for node in ast.walk(ast.parse(definition.reference))
        if isinstance(node, ast.Constant) and type(node.value) is int
    }
    real = {definition.const_axes[name] for name in plan.reduced}
    return {} if literals & real else dict(plan.reduced)


def _tolerances(definition: Definition, chosen: float | None) -> dict[str, dict[str, object]]:
    """For each output the fields of the generated Tolerance."""
    tolerance = family(definition.op_type).tolerance(definition)
    made = {}
    for name in definition.outputs:
        own = tolerance.each.get(name, tolerance)
        made[name] = _fields(own) if chosen is None else _chosen(own, chosen)
    return made


def _fields(tolerance: Tolerance) -> dict[str, object]:
    names = [one.name for one in fields(Tolerance) if one.name not in ("samples", "each")]
    return {name: getattr(tolerance, name) for name in names}


def _chosen(tolerance: Tolerance, value: float) -> dict[str, object]:
    """A tolerance that a person chose replaces all but the ratio of elements that must match."""
    return {"atol": value, "rtol": value, "matched_ratio": tolerance.matched_ratio}


def _joined(texts: Sequence[str]) -> str:
    """Definitions two lines apart, constants in a block."""
    plain = [not text.startswith(("def ", "class ", "@")) for text in texts]
    joined = ""
    for index, text in enumerate(texts):
        together = index and plain[index] and plain[index - 1]
        joined += ("\n" if together else "\n\n\n" if index else "") + text
    return joined


def _smaller(axes: Mapping[str, int]) -> str:
    """The dict of reduced axes; "" where there are none."""
    if not axes:
        return ""
    return bundle.literal(axes) if len(axes) < 3 else _by_line(axes, 0)


def _size_entry(name: str, axes: Mapping[str, int]) -> str:
    """One size as an entry of a dict, on one line where that is short enough."""
    line = f'    "{name}": {bundle.literal(axes)},'
    return line if len(line) <= LINE_WIDTH else f'    "{name}": {_by_line(axes, 4)},'


def _by_line(axes: Mapping[str, int], indent: int) -> str:
    """A dict with one axis a line."""
    blanks = " " * indent
    inner = "\n".join(f'{blanks}    "{axis}": {value},' for axis, value in axes.items())
    return f"{{\n{inner}\n{blanks}}}"


def _tidy(text: str) -> str:
    """No more than two empty lines in a row, no blanks at the ends of lines."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{4,}", "\n\n\n", lines).strip("\n") + "\n\n\n"


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(places.DOCUMENTS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # it renders Python, not HTML
    )
    made.filters["literal"] = bundle.literal
    return made
