"""--discover: what a newer SGLang adds, and which cookbook models have no coverage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.inventory import candidates
from kernelkit.inventory.candidates import Candidates, discover

OLD = "class OneForCausalLM: ...\nEntryClass = OneForCausalLM\n"
NEW = "class TwoForCausalLM: ...\n\n\nclass Three: ...\nEntryClass = [TwoForCausalLM, Three]\n"
YAML = """
vendor: Org
families:
- name: f
  models:
  - {name: A, model_path: Org/Known-7B, hardware: {H100: {configurations: [
      {name: default, attributes: {quantization: bf16}, engine: {tp: 2, ep: null, dp: null}}]}}}
  - {name: B, model_path: Org/Fresh-9B-Instruct, hardware: {H100: {configurations: [
      {name: default, attributes: {quantization: fp8}, engine: {tp: 8, ep: 8, dp: null}}]}}}
"""


def _tree(root: Path, **files: str) -> Path:
    models = root / "python" / "sglang" / "srt" / "models"
    models.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (models / f"{name}.py").write_text(text)
    return root


@pytest.fixture
def cookbook(tmp_path: Path) -> Path:
    folder = tmp_path / "cookbook" / "data" / "models" / "generated" / "v0.5.8"
    folder.mkdir(parents=True)
    (folder / "org.yaml").write_text(YAML)
    return tmp_path / "cookbook"


def _discover(**options: Path | str | None) -> Candidates:
    names = ("sglang", "since", "cookbook", "document", "dataset")
    return discover(**{name: options.get(name) for name in names})  # type: ignore[arg-type]


def test_what_a_newer_tree_adds(tmp_path: Path) -> None:
    old, new = _tree(tmp_path / "old", one=OLD), _tree(tmp_path / "new", one=OLD, two=NEW)
    found = _discover(sglang=new, since=str(old))
    assert [(a.name, a.line, a.added) for a in found.architectures] == [
        ("OneForCausalLM", 1, False), ("TwoForCausalLM", 1, True), ("Three", 4, True),
    ]  # fmt: skip
    shown = candidates.as_text(found)
    assert "2 architectures added" in shown and "OneForCausalLM" not in shown


def _git(root: Path, *words: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *settings, *words], check=True, capture_output=True)


def test_what_a_checkout_adds_since_a_revision(tmp_path: Path) -> None:
    root = _tree(tmp_path / "repo", one=OLD)
    _git(root, "init", "-q")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "one")
    _git(root, "tag", "v1")
    _tree(root, two=NEW)
    found = _discover(sglang=root, since="v1")
    assert [a.name for a in found.architectures if a.added] == ["TwoForCausalLM", "Three"]
    with pytest.raises(UsageError, match="neither a folder"):
        _discover(sglang=root, since="no-such-tag")
    with pytest.raises(UsageError, match="neither a folder"):
        _discover(sglang=root, since="--output=x")


def test_cookbook_models_without_coverage(cookbook: Path, tmp_path: Path, document: Path) -> None:
    text = document.read_text("utf-8").replace("Gone 7B", "Known 7B")
    document.write_text(text, "utf-8")
    found = _discover(sglang=_tree(tmp_path / "s", one=OLD), cookbook=cookbook, document=document)
    assert [(m.repo_id, m.sizes, m.covered) for m in found.models] == [
        ("Org/Fresh-9B-Instruct", ("tp=8 ep=8",), False),
        ("Org/Known-7B", ("tp=2 ep=1",), True),
    ]
    shown = candidates.as_text(found)
    assert "1 of 2 cookbook models without coverage" in shown and "Org/Known-7B" not in shown


def test_a_datasets_model_tags_count_as_coverage(cookbook: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ds" / "definitions" / "rmsnorm"
    folder.mkdir(parents=True)
    (folder / "rmsnorm_h8.json").write_text(
        '{"name": "rmsnorm_h8", "op_type": "rmsnorm", "tags": ["model:fresh-9b"], "axes": {}, '
        '"inputs": {}, "outputs": {}, "reference": "def run():\\n    return None\\n"}'
    )
    tree = _tree(tmp_path / "s", one=OLD)
    found = _discover(sglang=tree, cookbook=cookbook, dataset=tmp_path / "ds")
    assert {m.repo_id: m.covered for m in found.models} == {
        "Org/Fresh-9B-Instruct": True, "Org/Known-7B": False,
    }  # fmt: skip


def test_nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    empty = _tree(tmp_path / "s", none="x = 1\n")
    with pytest.raises(NothingSelectedError, match="nothing to discover"):
        _discover(sglang=empty)
