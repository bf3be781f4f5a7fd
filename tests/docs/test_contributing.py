"""CONTRIBUTING.md is followed in a copy of the pack: files written, edits made, commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import checker
import pytest
from warm import Warm

EXAMPLES = {"An op family": 4, "An architecture": 3, "A template": 2, "A skill": 4}  # files, edits
FENCE = re.compile(
    r"^(?P<mark>```|~~~)(?P<language>\w+)(?: (?P<path>\S+))?\n(?P<text>.*?)^(?P=mark)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: a file or an edit where it names a path, else commands."""

    language: str
    path: str | None
    text: str


def blocks(document: str, heading: str) -> list[Block]:
    """The blocks of a section."""
    section = re.split(rf"^## {heading}$", document, flags=re.MULTILINE)[1]
    section = re.split(r"^## (?=An? )", section, flags=re.MULTILINE)[0]
    return [Block(m["language"], m["path"], m["text"]) for m in FENCE.finditer(section)]


def put(block: Block, root: Path) -> None:
    """Write a new file, or make an edit whose place is found exactly once."""
    path = root / str(block.path)
    if block.language != "diff":
        assert not path.exists(), f"{block.path} is there already: the example needs another one"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return
    lines = block.text.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (
        f"the place of the edit of {block.path} is there {text.count(old)}x"
    )
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(command: str, root: Path, python: Warm) -> None:
    """One documented command, by this Python, without what this session set for pytest."""
    for placeholder, value in checker.PLACEHOLDERS.items():
        command = command.replace(placeholder, value)
    words = shlex.split(command)
    assert words[0] == "python", command
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "KERNELKIT"))}
    environment |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment |= {"XDG_CACHE_HOME": str(root / "out" / "cache")}
    more = ["-p", "no:cacheprovider"] if "pytest" in words else []
    code, said = python.run([*words[1:], *more], root, environment, seconds=300)
    assert code == 0, f"{command}: exit {code}\n{said[-5000:]}"
    assert "no tests ran" not in said


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of the pack, below a path with a space."""
    # Byte code goes along: it is valid as long as its source is the same, and saves half a second
    # with each command.
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "out", "tmp", ".gpu", "build", "adversarial"
    )
    return Path(shutil.copytree(checker.ROOT, tmp_path / "a pack", symlinks=True, ignore=left_out))


@pytest.fixture(scope="module")
def python() -> Iterator[Warm]:
    """A Python that has loaded torch once for all commands."""
    with Warm() as warm:
        yield warm


DOCUMENT = (checker.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("heading", EXAMPLES)
def test_the_example_works(heading: str, pack: Path, python: Warm) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("yaml")
    found = blocks(DOCUMENT, heading)
    files = [block for block in found if block.path]
    assert len(files) == EXAMPLES[heading]
    for block in files:
        put(block, pack)
    commands = [c for b in found if b.language == "bash" for c in b.text.splitlines()]
    assert len(commands) >= 3
    for command in commands:
        run(command, pack, python)


@pytest.mark.parametrize("heading", EXAMPLES)
def test_its_python_is_as_ours(heading: str) -> None:
    """The files of the examples pass the pack's own linter, as if they lay in their places."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ruff = shutil.which("ruff", path=folders)
    if ruff is None:
        pytest.skip("ruff is not installed")
    for block in blocks(DOCUMENT, heading):
        for words in (["check"], ["format", "--check"]) if block.language == "python" else ():
            done = subprocess.run(
                [ruff, *words, "--no-cache", "--stdin-filename", str(block.path), "-"],
                cwd=checker.ROOT, input=block.text, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.path}\n{done.stdout}{done.stderr}"


def test_an_edit_whose_place_is_gone_fails(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(AssertionError, match="0x"):
        put(Block("diff", "a.py", " x = 2\n+y = 3\n"), tmp_path)
    put(Block("diff", "a.py", "-x = 1\n+y = 3\n"), tmp_path)
    assert (tmp_path / "a.py").read_text() == "y = 3\n"
    with pytest.raises(AssertionError, match="there already"):
        put(Block("python", "a.py", ""), tmp_path)


def test_a_command_that_fails_or_hangs_is_seen(tmp_path: Path, python: Warm) -> None:
    """Each is a process of its own: exit codes, output, folder, modules and the limit are its."""
    work = tmp_path / "a folder"
    work.mkdir()
    (work / "mine.py").write_text("import sys\nprint('mine', sys.argv[1:])\nsys.exit(3)\n")
    (work / "again.py").write_text("import sys\nprint('mine' in sys.modules)\n")
    (work / "raises.py").write_text("import mine_that_is_not\n")
    (work / "hangs.py").write_text("import time\ntime.sleep(30)\n")
    environment = dict(os.environ)
    assert python.run(["mine.py", "a b"], work, environment, 30) == (3, "mine ['a b']\n")
    assert python.run(["-m", "mine"], work, environment, 30) == (3, "mine []\n")
    assert python.run(["again.py"], work, environment, 30) == (0, "False\n")
    code, said = python.run(["raises.py"], work, environment, 30)
    assert code == 1 and "mine_that_is_not" in said
    assert python.run(["hangs.py"], work, environment, 1) == (-14, "")
