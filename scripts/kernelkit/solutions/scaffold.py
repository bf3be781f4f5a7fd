"""A new solution's folder: main.py that runs at once, solution.json, and a README of next steps."""

from __future__ import annotations

import ast
import io
import shlex
from pathlib import Path

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.solutions.constants import constant_names, fill, values_of
from kernelkit.solutions.documents import check_entry, parse, to_text
from kernelkit.solutions.folder import MANIFEST, NOTES
from kernelkit.solutions.signature import with_head
from kernelkit.solutions.templates import MAIN, Template


def scaffold(
    definition: Definition, template: Template, *, own: bool, author: str, name: str
) -> dict[str, str]:
    """Path and text of the sources and of solution.json, which comes last.

    `own`: the template's main.py serves the definition; otherwise it is made from the definition's
    reference. Raises FormatError where a name cannot be a file name, or arguments do not fit.
    """
    metadata = {
        **template.bare(), "name": name, "definition": definition.name, "author": author
    }  # fmt: skip
    if own:
        files = _from_template(definition, template)
    else:
        metadata["description"] = "The definition's reference in plain PyTorch, as a start."
        text = with_constants(definition.reference, definition)
        files = {MAIN: with_head(text, definition, reorder=True)}
    sources = [{"path": path, "content": text} for path, text in files.items()]
    check_entry(parse({**metadata, "sources": sources}, template.name), template.name)
    return {**files, MANIFEST: to_text(metadata)}


def _from_template(definition: Definition, template: Template) -> dict[str, str]:
    values = {**values_of(definition), **(template.constants_for(definition) or {})}
    texts = {MAIN: template.main, **template.extra}
    files = {path: fill(path, text, values) for path, text in texts.items()}
    spec = template.metadata["spec"]
    files[MAIN] = with_head(
        files[MAIN], definition, symbol=spec["entry_point"].split("::")[1],
        destinations=spec["destination_passing_style"],
    )  # fmt: skip
    return files


def with_constants(reference: str, definition: Definition) -> str:
    """The reference with torch imported, and each const axis as a constant behind the imports."""
    text = reference.rstrip("\n") + "\n"
    if ast.get_docstring(ast.parse(text)) is None:
        text = f'"""{definition.name} in plain PyTorch."""\n\n{text}'
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    taken = used | set(constant_names(text)) | {getattr(n, "name", "") for n in ast.walk(tree)}
    added = {name.upper(): value for name, value in definition.const_axes.items()}
    block = [f"{n} = {v!r}\n" for n, v in added.items() if n.isidentifier() and n not in taken]
    imports = [] if _binds_torch(tree) else ["\n", "import torch\n"]
    if block:
        block = ["\n", "# The definition's const axes.\n", *block]
    lines = list(io.StringIO(text, newline=""))
    place = _behind_imports(tree)
    return "".join([*lines[:place], *imports, *block, *lines[place:]])


def notes(definition: Definition, folder: Path, dataset: Path, name: str) -> str:
    """The README: what to run next, with real arguments, from the current folder."""
    check = _command("check_solution.py", folder, "--dataset", dataset, "--smoke")
    pack = _command("build_solution.py", "pack", folder, "--dataset", dataset)
    selection = ("--dataset", dataset, "--definitions", definition.name)
    bench = _command("bench.py", *selection, "--solutions", name)
    report = _command("report.py", *selection)
    return f"""# {name}

A solution of `{definition.name}`. It runs as it is: write the kernel in `main.py`, then, from the
folder in which this was made:

1. Check it, on a CPU:

   ```bash
   {check}
   ```

2. Put it into the dataset and measure it:

   ```bash
   {pack}
   {bench}
   ```

3. Read the result:

   ```bash
   {report}
   ```

This file is not part of the solution.
"""


def new_files(
    definition: Definition, template: Template, *, own: bool, author: str, name: str,
    folder: Path, dataset: Path,
) -> dict[str, str]:  # fmt: skip
    """Path and text of every file of the new folder."""
    files = scaffold(definition, template, own=own, author=author, name=name)
    return {NOTES: notes(definition, folder, dataset, name), **files}


def _command(script: str, *words: object) -> str:
    return f"{places.command(script)} {shlex.join(map(str, words))}"


def _binds_torch(tree: ast.Module) -> bool:
    names = [n for node in tree.body if isinstance(node, ast.Import) for n in node.names]
    return any(name.name == "torch" and name.asname is None for name in names)


def _behind_imports(tree: ast.Module) -> int:
    """The number of lines up to the last import of the module's beginning, or its docstring."""
    last = 0
    for position, node in enumerate(tree.body):
        docstring = position == 0 and isinstance(node, ast.Expr)
        if not docstring and not isinstance(node, (ast.Import, ast.ImportFrom)):
            break
        last = node.end_lineno or last
    return last
