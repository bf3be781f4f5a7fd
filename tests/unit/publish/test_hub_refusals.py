"""What the hub refuses, one sentence for each, and everything left ready."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import publish_staging as staging
import pytest
from hub_stub import HubStub, Request
from publish_staging import BRANCH, DECODE, Desk, git, pull_requests, submitted

# huggingface_hub 2.4 sends a file in a way that its own HTTP library calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def test_not_logged_in_to_the_hub(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("HF_TOKEN")
    code, found = submitted(desk, capsys)
    assert code == 3
    assert "not logged in to the hub" in found["errors"][0]
    assert "hf auth login" in found["errors"][0]
    assert git("rev-parse", "--verify", BRANCH, at=desk.dataset.root)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, found = submitted(desk, capsys)
    assert code == 3 and "does not accept the login" in found["errors"][0]
    assert hub.requests == [] and pull_requests(gh) == []


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [(403, 1, "write access"), (404, 1, "--hub-repo"), (412, 1, "moved on"), (500, 1, "500")],
)
def test_the_hub_refuses_the_commit(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str], status: int,
    code: int, text: str,
) -> None:  # fmt: skip
    hub.commit_status = status
    said, found = submitted(desk, capsys)
    assert said == code
    assert text in found["errors"][0] and "\n" not in found["errors"][0]
    assert Path(found["texts"], "dataset_pr.md").is_file()
    hub.commit_status = 200
    assert submitted(desk, capsys)[0] == 0


def test_a_refusal_of_the_xet_storage(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With hf_xet installed the client asks for a token first; the stub has no such storage."""
    pytest.importorskip("hf_xet")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    code, found = submitted(desk, capsys)
    assert code == 1
    assert any("xet-write-token" in path for _, path in hub.log)
    assert "--hub-repo" in found["errors"][0] and hub.requests == []


def test_the_hub_cannot_be_reached(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    code, found = submitted(desk, capsys)
    assert code == 3
    assert "cannot be reached" in found["errors"][0]


def test_somebody_elses_pull_request(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.requests.append(Request(1, f"Add {DECODE}", "", "another"))
    code, found = submitted(desk, capsys)
    assert code == 1
    assert "somebody else" in found["errors"][0] and "discussions/1" in found["errors"][0]
    assert len(hub.requests) == 1


def test_what_is_wrong_is_not_submitted(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staging.record_test(desk.dataset, staging.definition(DECODE), "failed")
    for words in ((), ("--allow-incomplete",)):
        code, found = submitted(desk, capsys, *words)
        assert (code, found["status"]) == (1, "failed")
    assert hub.requests == [] and pull_requests(gh) == [] and hub.uploads == []
