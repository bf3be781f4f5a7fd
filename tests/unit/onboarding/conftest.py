"""Fixtures over `onboarding_place`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import onboard_model

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode: a helper beside the tests

from onboarding_place import CONFIG, FLASHINFER, SGLANG, Place, git  # noqa: E402


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits have an author on every machine."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.org")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A dataset that is a clone of a bare repository, and all sources."""
    made = Place(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "cookbook").mkdir()
    for package, files in (("flashinfer", FLASHINFER), ("sglang", SGLANG)):
        for name, text in files.items():
            path = tmp_path / "sources" / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    first = tmp_path / "first"
    (first / "definitions").mkdir(parents=True)
    (first / "definitions" / ".gitkeep").touch()
    (first / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    git("init", "--quiet", "--initial-branch=main", at=first)
    git("add", "--all", at=first)
    git("commit", "--quiet", "--message", "first", at=first)
    git("clone", "--quiet", "--bare", first, tmp_path / "hosted.git", at=tmp_path)
    git("clone", "--quiet", tmp_path / "hosted.git", made.dataset, at=tmp_path)
    return made


@pytest.fixture
def onboard(place: Place, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the script on the place; returns the exit code."""

    def call(*more: str, words: list[str] | None = None) -> int:
        capsys.readouterr()
        code = onboard_model.main([*(words or place.words()), "--json", *more])
        read = capsys.readouterr()
        place.printed, place.said = read.out, read.err
        place.document = json.loads(read.out) if read.out else {}
        return code

    return call
