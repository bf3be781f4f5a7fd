"""Phase 2: suggestions for SGLang, where FlashInfer has an API that SGLang never calls.

For each API the place, a patch that applies and changes no behaviour, and the text of a pull
request. Nothing is pushed: how the arguments map is a person's to decide.
"""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.errors import KernelkitError
from kernelkit.inventory.flashinfer_tree import locate as locate_flashinfer
from kernelkit.inventory.manifest import Evidence, Kernel
from kernelkit.onboarding import describing
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.inventory_phase import flashinfer_path, sglang_path
from kernelkit.onboarding.requests import groups
from kernelkit.onboarding.run import Result, Run
from kernelkit.publish.rendering import render


def write(run: Run, result: Result) -> None:
    """One folder for each API that SGLang does not call."""
    definitions = {definition.name: definition for definition in defined(run)}
    chosen = [k for k in run.kernels()
              if k.sgl_status == "sgl_missing" and k.definition_name in definitions]  # fmt: skip
    base = _sglang_base(run)
    for api, kernels in groups(chosen).items():
        folder = run.output / "sglang" / api.rpartition(".")[2]
        places = [e for e in describing.evidence(kernels, "sglang") if e.file and e.line]
        patch = suggestion(base, places, api) if base and places else None
        if patch:
            atomic.write_text(folder / "suggestion.patch", patch)
        text = _text(run, api, kernels, definitions, places, bool(patch))
        atomic.write_text(folder / "pull_request.md", text)
        result.tell(f"SGLang does not call {api}: {folder}")


def _sglang_base(run: Run) -> Path | None:
    """The folder that evidence's paths start from."""
    from kernelkit.sglang.tree import locate

    try:
        return locate(sglang_path(run)).root.parent
    except KernelkitError:
        return None


def _text(
    run: Run, api: str, kernels: list[Kernel], definitions: dict[str, Definition],
    places: list[Evidence], has_patch: bool,
) -> str:  # fmt: skip
    held, example = run.manifest, definitions[kernels[0].definition_name]
    return render(
        "sglang_integration.md.j2", api=api, places=places, patch=has_patch, example=example,
        model=held.hf_repo_id or held.model_slug, architecture=held.architecture,
        version=(held.versions or {}).get("sglang"), signature=_signature(run, api),
        shapes=describing.shapes(kernels, definitions), interface=describing.interface(example),
    )  # fmt: skip


def suggestion(base: Path, places: list[Evidence], api: str) -> str | None:
    """A unified diff over the first place: the import, and a comment at the call.

    None where the file cannot be read or parsed. Paths are those of a git diff from `base`.
    """
    place = places[0]
    path = base / str(place.file)
    try:
        before = path.read_text(encoding="utf-8")
        tree = ast.parse(before)
    except (OSError, SyntaxError, ValueError):
        return None
    lines = before.splitlines(keepends=True)
    line = _statement_line(tree, place.line or 1)
    module, _, name = api.rpartition(".")
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    after = list(lines)
    after[line - 1 : line - 1] = [
        f"{indent}# {name} of FlashInfer serves this op, too:\n",
        f"{indent}# call it here where its arguments are at hand, else keep the call below.\n",
    ]
    at, imported = _import(tree, line, module, name)
    after[at:at] = imported
    found = "".join(difflib.unified_diff(lines, after, f"a/{place.file}", f"b/{place.file}"))
    return found if _compiles("".join(after)) else None


def _statement_line(tree: ast.Module, line: int) -> int:
    """The first line of the innermost statement around `line`: a comment may go before it."""
    starts = [
        node.lineno for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]  # fmt: skip
    return max(starts, default=line)


def _import(tree: ast.Module, before: int, module: str, name: str) -> tuple[int, list[str]]:
    """The lines that import the function, and behind which line they go.

    Beside another import of FlashInfer, under the condition that guards that one; else guarded,
    behind the imports at the top: FlashInfer is an option of SGLang.
    """
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    guarded = [n for n in imports if (n.module or "").startswith("flashinfer.")
               and (n.end_lineno or n.lineno) < before]  # fmt: skip
    if guarded:
        near = guarded[0]
        text = f"{' ' * near.col_offset}from {module} import {name}  # noqa: F401\n"
        return near.end_lineno or near.lineno, [text]
    tops = (n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)))
    at = max((n.end_lineno or n.lineno for n in tops if n.lineno < before), default=0)
    return at, [
        "\n", "try:\n", f"    from {module} import {name}  # noqa: F401\n",
        "except ImportError:\n", f"    {name} = None\n",
    ]  # fmt: skip


def _compiles(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _signature(run: Run, api: str) -> str | None:
    """The function's head, or that of the class's `run`, as FlashInfer's sources have it."""
    tree = locate_flashinfer(flashinfer_path(run))
    found = tree.find(api) if tree else None
    if tree is None or found is None:
        return None
    path = tree.package.parent / found.file
    module = ast.parse(path.read_text(encoding="utf-8"))
    node = next((n for n in ast.walk(module) if isinstance(n, (ast.FunctionDef, ast.ClassDef))
                 and n.lineno == found.line), None)  # fmt: skip
    if isinstance(node, ast.ClassDef):
        node = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "run"),
                    None)  # fmt: skip
    if not isinstance(node, ast.FunctionDef):
        return None
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parts = re.split(r", (?=\*|\w+(?::|=|,|$))", ast.unparse(node.args))
    arguments = "".join(f"    {part},\n" for part in parts)
    return f"def {node.name}(\n{arguments}){returns}: ..."
