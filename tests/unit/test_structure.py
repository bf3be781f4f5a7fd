"""The tree is as CLAUDE.md draws it: imports one way, no cycle, small files that say what they do.

Every import counts, also one inside a function; those under TYPE_CHECKING need no order.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts" / "kernelkit"
ROOMS = sorted(
    {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in LIBRARY.rglob("*.py")}
    - {"__init__", "__main__"}
)
MOST_LINES = 300
LONGER = {"tests/templates/fast_inputs.py": "a table of cases"}  # and why
# Embedded in others' files (a reference, a test's part), or in the place of others' packages.
WITHOUT_DOCSTRING = {"references", "parts", "sglang_tree", "toy_sglang"}


def groups() -> list[set[str]]:
    """The rooms as CLAUDE.md orders them: each group may import itself and those before it."""
    text = " ".join((ROOT / "CLAUDE.md").read_text(encoding="utf-8").split())
    (line,) = re.findall(r"Imports go one way: (.*?)\. ", text)
    return [{name.strip() for name in part.split(",")} for part in line.split("<-")]


def imports(path: Path) -> Iterator[str]:
    """The modules of the pack that a file imports, but for types."""
    stack: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:  # relative: a solution's sources
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        stack.extend(ast.iter_child_nodes(node))


def edges(library: Path) -> dict[tuple[str, str], str]:
    """Which room imports which other, with a file that does."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        room = place.parts[0].removesuffix(".py")
        for name in imports(path):
            words = name.split(".")
            if words[0] == "kernelkit" and len(words) > 1 and room not in ("__main__", words[1]):
                found.setdefault((room, words[1]), f"{place}: {name}")
    return found


def wrong_way(found: dict[tuple[str, str], str], order: list[set[str]]) -> list[str]:
    """The imports that lead to a room further on, or both ways between two rooms."""
    rank = {room: at for at, group in enumerate(order) for room in group}
    return [
        text for (room, other), text in found.items()
        if other in rank and (rank[other] > rank[room] or (other, room) in found)
    ]  # fmt: skip


def cycles(found: dict[tuple[str, str], str]) -> set[str]:
    """The rooms that reach themselves."""
    left = {room for edge in found for room in edge}
    while free := {room for room in left if not any(a == room and b in left for a, b in found)}:
        left -= free
    return left


def test_every_room_has_its_place() -> None:
    placed = [room for group in groups() for room in group if room != "scripts"]
    assert sorted(placed) == ROOMS


def test_imports_go_one_way() -> None:
    found = edges(LIBRARY)
    assert len(found) > 60
    assert wrong_way(found, groups()) == []
    assert cycles(found) == set()


def test_a_wrong_import_is_seen(tmp_path: Path) -> None:
    for name, text in {
        "dataset/a.py": "def f():\n    from kernelkit.ops import b\n",
        "ops/b.py": "import kernelkit.dataset.a\n",
        "models/c.py": "if TYPE_CHECKING:\n    from kernelkit.ops import b\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    found = edges(tmp_path)
    assert set(found) == {("dataset", "ops"), ("ops", "dataset")}
    assert wrong_way(found, [{"dataset"}, {"ops"}]) == [
        "dataset/a.py: kernelkit.ops.b", "ops/b.py: kernelkit.dataset.a"
    ]  # fmt: skip
    ring = {("a", "b"): "", ("b", "c"): "", ("c", "a"): "", ("c", "d"): ""}
    assert cycles(ring) == {"a", "b", "c"}


def test_every_imported_name_is_there() -> None:
    files = [p for folder in ("scripts", "tests") for p in (ROOT / folder).rglob("*.py")]
    assert [fault for path in files for fault in absent_names(path, LIBRARY)] == []


def test_an_absent_name_is_seen(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text("")
    (tmp_path / "room" / "a.py").write_text(
        "import os\nX, y = 1, 2\nclass C: ...\ndef f(): inner = 1\nif X:\n    Z: int = 3\n"
    )
    path = tmp_path / "user.py"
    path.write_text(
        "def g():\n    from kernelkit.room.a import C, X, Z, f, gone, inner, os, y\n"
        "    from kernelkit.room import a, b\n"
    )
    assert list(absent_names(path, tmp_path)) == [
        "user.py: kernelkit.room.a.gone", "user.py: kernelkit.room.a.inner",
        "user.py: kernelkit.room.b",
    ]  # fmt: skip


def absent_names(path: Path, library: Path) -> Iterator[str]:
    """What a file imports from the pack, at its top or in a function, and is not there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        first, *rest = node.module.split(".")
        if first == "kernelkit":
            known = names_of(library.joinpath(*rest))
            gone = sorted(alias.name for alias in node.names if alias.name not in known)
            yield from (f"{path.name}: {node.module}.{name}" for name in gone)


@functools.cache
def names_of(module: Path) -> frozenset[str]:
    """The names that a module has: its own, and a package's modules."""
    file = module.with_suffix(".py")
    inside: set[str] = set()
    if not file.is_file():  # a folder of that name may hold data
        file, inside = module / "__init__.py", {path.stem for path in module.glob("*")}
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return frozenset(inside | set(_bound(ast.parse(text).body)))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements bind, those of their branches among them."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((each.asname or each.name).split(".")[0] for each in node.names)
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id
        for part in ("body", "orelse", "finalbody", "handlers"):
            for branch in getattr(node, part, []):
                inner = branch.body if isinstance(branch, ast.ExceptHandler) else [branch]
                yield from _bound(inner)


def test_files_are_small_and_say_what_they_are() -> None:
    library, tests = sorted(LIBRARY.rglob("*.py")), sorted((ROOT / "tests").rglob("*.py"))
    assert len(library) > 400 and len(tests) > 600
    found = [*library, *sorted((ROOT / "scripts").glob("*.py")), *tests]
    assert [fault for path in found for fault in faults(path, ROOT)] == []


def test_a_long_file_and_a_silent_one_are_seen(tmp_path: Path) -> None:
    for name, text in {
        "tests/long.py": '"""Long."""\n' + "x = 1\n" * MOST_LINES,
        "tests/silent.py": "x = 1\n",
        "tests/fixtures/toy_sglang/stand_in.py": "x = 1\n",
        **{name: '"""Cases."""\n' + "x = 1\n" * MOST_LINES for name in LONGER},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    files = sorted(tmp_path.rglob("*.py"))
    assert [fault for path in files for fault in faults(path, tmp_path)] == [
        "tests/long.py: 301 lines, more than 300",
        "tests/silent.py: its first line does not say what it is for",
    ]


def faults(path: Path, root: Path) -> Iterator[str]:
    """What is wrong with a file's size and first line."""
    text, place = path.read_text(encoding="utf-8"), path.relative_to(root)
    lines = len(text.splitlines())
    if lines > MOST_LINES and place.as_posix() not in LONGER:
        yield f"{place}: {lines} lines, more than {MOST_LINES}"
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    if not first and not WITHOUT_DOCSTRING & set(place.parts):
        yield f"{place}: its first line does not say what it is for"
