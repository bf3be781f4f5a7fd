"""Where SGLang's sources lie, and which class serves an architecture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kernelkit.errors import MissingDependencyError, UsageError
from kernelkit.sglang import tree as trees
from kernelkit.sglang.entries import NotInSglangError, entry_classes, entry_named, entry_of
from kernelkit.sglang.tree import SglangTree, locate


def test_the_same_tree_from_every_folder(made_up: SglangTree, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(made_up.root, checkout / "python" / "sglang")
    (checkout / "python" / "sglang" / "_version.py").unlink()
    (checkout / "python" / "pyproject.toml").write_text('[project]\nversion = "8.0.0"\n')
    assert made_up.version == "9.9.1"
    for path in (made_up.base, made_up.root, made_up.root / "srt"):
        assert locate(path) == made_up
    found = locate(checkout)
    assert (found.root, found.version) == (checkout / "python" / "sglang", "8.0.0")


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_no_tree_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no such folder|holds no SGLang sources") as caught:
        locate(tmp_path / name)
    assert caught.value.next_step


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="--sglang-path"):
        locate(None)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("EntryClass = A\n", ["A"]),
        ("x = 1\nEntryClass = [\n    A,\n    B,  # and this\n]\ny = 2\n", ["A", "B"]),
        ("EntryClass: list = (A, B)\n", ["A", "B"]),
        ("    EntryClass = A\n", []),
        ("EntryClass = [A,\n", []),
        ("", []),
    ],
)
def test_entry_classes(text: str, names: list[str]) -> None:
    assert entry_classes(text) == names


def test_names_of_all_kinds(made_up: SglangTree) -> None:
    for name in ("TinyMoeForCausalLM", "tiny_moe", "tiny-moe", "org/Tiny-MoE", "tiny_moe.py"):
        assert entry_named(name, made_up)[0].architecture == "TinyMoeForCausalLM"
    entry, notes = entry_named("tiny-7b", made_up)
    assert entry.architecture == "TinyForCausalLM" and "alone" in notes[0]
    assert entry_named("tiny-30b-a3b", made_up)[0].architecture == "TinyMoeForCausalLM"


def test_an_absent_architecture_names_the_nearest(made_up: SglangTree) -> None:
    with pytest.raises(NotInSglangError, match=r"9\.9\.1 has no class.*TinyMoeForCausalLM"):
        entry_of("TinyMoesForCausalLM", made_up)
    with pytest.raises(NotInSglangError):
        entry_of("Unlisted", made_up)
