"""The sources of the corpus's entries, with the shared files that they import."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDERS = [*(HERE / "attacks").iterdir(), HERE / "controls"]
Sources = list[dict[str, str]]


def ids() -> dict[str, Path]:
    """The file, or the folder of files, of every entry."""
    paths = [path for folder in FOLDERS for path in folder.iterdir()]
    return {path.stem: path for path in paths if path.suffix == ".py" or path.is_dir()
            if path.name != "__pycache__"}  # fmt: skip


def title(path: Path) -> str:
    """The first line of the entry's docstring."""
    main = path if path.is_file() else next(path.rglob("main.py"))
    return (ast.get_docstring(ast.parse(main.read_text())) or "").partition("\n")[0]


def sources(path: Path, constants: dict[str, str]) -> Sources:
    """The entry's files, main.py first, and the shared ones; `constants` fill in @NAME@."""
    if path.is_file():
        found = {"main.py": path.read_text()}
    else:
        files = (file for file in path.rglob("*") if file.suffix in (".py", ".json"))
        found = {file.relative_to(path).as_posix(): file.read_text() for file in sorted(files)}
    waiting = list(found.values())
    while waiting:
        for name in _shared(waiting.pop()):
            file = HERE / "shared" / f"{name}.py"
            if file.is_file() and file.name not in found:
                found[file.name] = file.read_text()
                waiting.append(found[file.name])
    return [{"path": name, "content": _filled(text, constants)} for name, text in found.items()]


def entry_point(path: Path) -> str:
    """The file and function of the entry."""
    main = "main.py" if path.is_file() else next(path.rglob("main.py")).relative_to(path).as_posix()
    return f"{main}::run"


def _shared(text: str) -> list[str]:
    """Names of the sister modules that a Python text imports."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return [node.module for node in nodes if node.level == 1 and node.module]


def _filled(text: str, constants: dict[str, str]) -> str:
    for name, value in constants.items():
        text = text.replace(f"@{name}@", value)
    return text
