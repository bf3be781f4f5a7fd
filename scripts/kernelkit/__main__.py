"""`kernelkit NAME ...` and `python -m kernelkit NAME ...`: the scripts of the installed pack."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from kernelkit import __version__, cli, places
from kernelkit.errors import EXIT_OK, EXIT_USAGE

USAGE = "usage: kernelkit NAME [arguments]; kernelkit NAME --help tells more"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script that the first argument names; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return cli.guarded(lambda: _run(words))


def _run(words: list[str]) -> int:
    """The script's exit code, or that of the answers without one."""
    if words[:1] == ["--version"]:
        cli.emit(None, as_json=False, text=__version__)
        return EXIT_OK
    if words[:1] in ([], ["-h"], ["--help"]):
        cli.emit(None, as_json=False, text="\n".join([USAGE, "", *_lines()]))
        return EXIT_OK
    path = scripts().get(words[0].replace("_", "-"))
    if path is None:
        cli.say("\n".join([f"error: no such script: {words[0]}", *_lines()]))
        return EXIT_USAGE
    sys.argv = [f"kernelkit {words[0]}", *words[1:]]  # the name in its usage line
    return _load(path).main(words[1:])


def scripts() -> dict[str, Path]:
    """The scripts by name, words parted by hyphens."""
    found = sorted(places.SCRIPTS.glob("[a-z]*.py"))
    return {path.stem.replace("_", "-"): path for path in found}


def _lines() -> list[str]:
    """Each script with the first line of what it says of itself."""
    known = scripts()
    width = max(map(len, known))
    return [f"  {name:{width}}  {_summary(path)}" for name, path in known.items()]


def _summary(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


def _load(path: Path) -> ModuleType:
    """The script as a module of its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    raise SystemExit(main())
