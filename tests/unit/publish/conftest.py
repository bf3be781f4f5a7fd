"""Real repositories on disk: bare ones that stand for the hosted ones, checkouts, staged files."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset

sys.path.insert(0, str(Path(__file__).parent))

import publish_staging as staging  # noqa: E402
from hub_stub import HubStub, serving  # noqa: E402
from publish_staging import Desk, Upstream, git, make_upstream  # noqa: E402

_NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "tester"), ("EMAIL", "tester@example.org"))
}


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings and no login of this machine, and an author."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "home" / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", "")  # no samples of hooks: six repositories a test
    for name, value in _NOBODY.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home" / "hf"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A published rmsnorm definition; a decode definition with everything that it needs, staged."""
    upstream = make_upstream(tmp_path, "flashinfer-trace", staging.published_files(tmp_path))
    bench = make_upstream(tmp_path, "flashinfer-bench", staging.bench_files())
    checkouts = tmp_path / "checkouts"
    checkouts.mkdir()
    for one in (upstream, bench):
        git("clone", "--quiet", one.bare, checkouts / one.bare.stem, at=tmp_path)
    dataset = Dataset.open(checkouts / "flashinfer-trace")
    staging.stage_decode(dataset)
    return Desk(dataset, upstream, checkouts / "flashinfer-bench", bench, tmp_path / "texts")


@pytest.fixture
def hub(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """A stub of the hub's API; the dataset's remote is a dataset on it, and a login is there.

    The git side of that URL is the bare repository.
    """
    from huggingface_hub import constants

    with serving("org/flashinfer-trace") as stub:
        monkeypatch.setenv("HF_ENDPOINT", stub.endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", stub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", stub.token)
        move_remote(desk.dataset.root, f"{stub.endpoint}/datasets/{stub.repo_id}", desk.upstream)
        yield stub
        assert stub.faults == []


@pytest.fixture
def gh(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program `gh` first on PATH that keeps pull requests in a file; the folder of that file.

    The bench repository's remote is on GitHub; git goes to the bare repository.
    """
    folder = tmp_path / "gh"
    folder.mkdir()
    program = folder / "gh"
    program.write_text(f"#!{sys.executable}\n{staging.GH_PROGRAM}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    move_remote(desk.bench, "https://github.com/org/flashinfer-bench.git", desk.bench_upstream)
    return folder


def move_remote(checkout: Path, url: str, upstream: Upstream) -> None:
    """Give the remote this URL; git goes to the bare repository all the same."""
    git("remote", "set-url", "origin", url, at=checkout)
    git("config", "--global", f"url.{upstream.bare}.insteadOf", url, at=checkout)
