"""--submit to GitHub through gh, after the dataset's pull request and with a link to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import publish_staging as staging
import pytest
from hub_stub import HubStub
from publish_staging import BELONGING, BRANCH, DECODE, DOCUMENT, Desk, git, pull_requests, submitted

# huggingface_hub 2.4 sends a file in a way that its own HTTP library calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def test_bothpull_requests(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE)
    code, found = submitted(desk, capsys, "--manifest", manifest)
    assert (code, found["status"], found["errors"]) == (0, "published", [])
    (request,) = hub.requests
    assert sorted(request.files) == BELONGING
    for path, content in request.files.items():
        if not path.startswith("traces/"):
            assert content == (desk.dataset.root / path).read_bytes()
    assert request.title == f"Add {DECODE}"
    assert "## Checklist" in request.description and "- [ ]" not in request.description
    (coverage,) = pull_requests(gh)
    url = f"{hub.endpoint}/datasets/{hub.repo_id}/discussions/1"
    assert url in coverage["body"]
    assert (coverage["head"], coverage["base"]) == (BRANCH, "main")
    assert desk.bench_upstream.files_of(BRANCH) == [DOCUMENT]
    # The hub has no pull requests of branches: nothing is pushed there.
    assert git("branch", "--list", at=desk.upstream.bare).split() == ["*", "main"]
    held = staging.phase4(manifest)
    assert (held["dataset"]["pr_url"], held["dataset"]["pr_number"]) == (url, 1)
    assert held["coverage"]["pr_url"] == coverage["url"]


def test_the_coverage_link_survives_the_merge_of_the_dataset(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE)
    (gh / "logged_out").touch()
    code, found = submitted(desk, capsys, "--manifest", manifest)
    assert code == 3
    assert "gh auth login" in found["errors"][0]
    url = staging.phase4(manifest)["dataset"]["pr_url"]
    # The maintainers merge it; then the person logs in.
    git("push", "--quiet", desk.upstream.bare, f"{BRANCH}:main", at=desk.dataset.root)
    (gh / "logged_out").unlink()
    code, found = submitted(desk, capsys, "--manifest", manifest)
    assert (code, found["dataset"]) == (0, None)
    assert url in pull_requests(gh)[0]["body"]
    assert len(hub.requests) == 1


def test_gh_is_not_installed(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (gh / "gh").unlink()
    if shutil.which("gh"):
        folder = str(Path(shutil.which("git") or "").parent)
        monkeypatch.setenv("PATH", folder)
        if shutil.which("gh"):
            pytest.skip("git and gh are in one folder here")
    code, found = submitted(desk, capsys)
    assert code == 3
    assert "gh is not installed" in found["errors"][0]
    assert desk.bench_upstream.files_of(BRANCH) == [DOCUMENT]  # pushed, and ready


def test_gh_fails(desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (gh / "fail").touch()
    code, found = submitted(desk, capsys)
    assert code == 1 and "gh pr create failed" in found["errors"][0]
    (gh / "fail").unlink()
    code, found = submitted(desk, capsys)
    assert code == 0 and len(pull_requests(gh)) == 1 and len(hub.requests) == 1


def test_a_fork_and_its_parent(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = submitted(desk, capsys, "--pr-repo", "parent/flashinfer-bench")
    assert (code, found["errors"]) == (0, [])
    calls = [json.loads(line) for line in (gh / "calls.jsonl").read_text().splitlines()]
    create = next(words for words in calls if words[:2] == ["pr", "create"])
    assert create[create.index("--head") + 1] == f"org:{BRANCH}"
    assert create[create.index("--repo") + 1] == "parent/flashinfer-bench"
