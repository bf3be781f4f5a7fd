"""Which FlashInfer APIs carry a trace template: read off the `@flashinfer_api(trace=...)` lines."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Set
from pathlib import Path

from kernelkit.errors import UsageError

_DEFINED = re.compile(r"^(?:def|class)\s+(\w+)", re.MULTILINE)


def locate_flashinfer(path: Path | None) -> Path | None:
    """The `flashinfer` package folder under `path`, or the installed one; None without any.

    Raises UsageError for a path that holds none.
    """
    if path is None:
        spec = importlib.util.find_spec("flashinfer")  # reads where it lies, runs none of it
        folders = list(spec.submodule_search_locations or []) if spec else []
        return Path(folders[0]) if folders else None
    for root in (path / "flashinfer", path):
        if (root / "api_logging.py").is_file():
            return root
    raise UsageError(
        "this folder holds no FlashInfer sources", received=path,
        allowed="a checkout, an unpacked wheel, or the flashinfer package folder",
    )  # fmt: skip


def plain(api: str) -> str:
    """The last part of a dotted API: the name of its function or class."""
    return api.rsplit(".", 1)[-1]


def traced_apis(root: Path, names: Set[str]) -> dict[str, bool]:
    """Which of `names` is a decorated function, or a class with a decorated method -> has a
    template. Sources that define none of them are not parsed: that is most of the time it takes.
    """
    found: dict[str, bool] = {}
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "flashinfer_api" not in text or names.isdisjoint(_DEFINED.findall(text)):
            continue
        for name, traced in _of_file(text):
            if name in names:
                found[name] = found.get(name, False) or traced
    return found


def _of_file(text: str) -> list[tuple[str, bool]]:
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return []
    found: list[tuple[str, bool]] = []
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found += [(node.name, _traced(d)) for d in node.decorator_list if _is_api(d)]
        elif isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            found += [
                (node.name, _traced(d)) for n in methods for d in n.decorator_list if _is_api(d)
            ]
    return found


def _is_api(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).rsplit(".", 1)[-1] == "flashinfer_api"


def _traced(decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call):
        return False
    return any(
        k.arg == "trace" and not (isinstance(k.value, ast.Constant) and k.value.value is None)
        for k in decorator.keywords
    )


def has_template(api: str | None, traced: dict[str, bool] | None) -> bool | None:
    """Whether an API carries a template; None for no API, or where no sources were read."""
    if api is None or traced is None:
        return None
    return traced.get(plain(api), False)
