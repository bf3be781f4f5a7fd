"""Branches without --submit: what is in them, what is never in them, and a second run."""

from __future__ import annotations

import json
from pathlib import Path

import publish_staging as staging
import pytest
from publish_staging import (
    BELONGING,
    BRANCH,
    CONFIG,
    DECODE,
    DOCUMENT,
    NORM,
    Desk,
    changed_on,
    git,
    prepared,
)

import submit_prs
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.validate.run import validate
from kernelkit.errors import UsageError
from kernelkit.publish.repository import Repository
from kernelkit.sources.git import Git


def _show(desk: Desk, path: str) -> str:
    return git("show", f"{BRANCH}:{path}", at=desk.dataset.root)


def test_a_branch_has_exactly_what_belongs(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    root = desk.dataset.root
    (root / "notes.txt").write_text("mine")
    status, head = git("status", "--porcelain", at=root), git("rev-parse", "HEAD", at=root)
    code, document = prepared(desk, capsys)
    assert code == 0
    assert document["definitions"][DECODE]["status"] == "ready"
    assert changed_on(root) == BELONGING
    assert changed_on(desk.bench) == [DOCUMENT]
    # Nothing else has changed: no checkout, no worktree, and nothing was pushed.
    assert git("status", "--porcelain", at=root) == status
    assert git("rev-parse", "HEAD", at=root) == head
    for repository in (root, desk.bench):
        assert len(git("worktree", "list", at=repository).splitlines()) == 1
        assert list((repository / ".git" / "kernelkit-publish").iterdir()) == []
    for upstream in (desk.upstream, desk.bench_upstream):
        assert git("branch", "--list", at=upstream.bare).split() == ["*", "main"]


def test_contents_are_the_staged_bytes_and_traces_only_the_baselines(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    for path in (BELONGING[2], BELONGING[4], BELONGING[6]):
        assert _show(desk, path) == (desk.dataset.root / path).read_text().strip()
    traces = [json.loads(line)["solution"] for line in _show(desk, BELONGING[5]).splitlines()]
    assert traces == ["flashinfer_decode"] * 2
    document = git("show", f"{BRANCH}:{DOCUMENT}", at=desk.bench)
    assert f"| `{DECODE}` | gqa_paged | ✅ |" in document
    assert f"| `{NORM}` | rmsnorm | 🟡 |" in document
    assert "2 / 2 definitions present" in document


def test_recorded_tensors_are_pointers_with_their_objects_beside(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    line = staging.workload(0)
    version, oid, size = _show(desk, BELONGING[0]).splitlines()
    assert version == "version https://git-lfs.github.com/spec/v1"
    name = oid.removeprefix("oid sha256:")
    held = desk.dataset.root / ".git" / "lfs" / "objects" / name[:2] / name[2:4] / name
    assert held.read_bytes() == staging.blob(line)
    assert size == f"size {len(staging.blob(line))}"


def test_the_branch_is_a_valid_dataset(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prepared(desk, capsys)
    git("worktree", "add", "--quiet", tmp_path / "seen", BRANCH, at=desk.dataset.root)
    found = [f for f in validate(Dataset.open(tmp_path / "seen")).findings if f.code != "B3"]
    assert [f for f in found if f.severity == "error"] == []


def test_a_second_run_changes_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(desk, capsys)
    tips = [git("rev-parse", BRANCH, at=at) for at in (desk.dataset.root, desk.bench)]
    code, document = prepared(desk, capsys)
    assert (code, document["definitions"][DECODE]["status"]) == (0, "ready")
    assert [git("rev-parse", BRANCH, at=at) for at in (desk.dataset.root, desk.bench)] == tips


def test_a_later_run_adds_what_changed_and_takes_back_what_is_staged_no_more(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    first = git("rev-parse", BRANCH, at=desk.dataset.root)
    definition, lines = staging.definition(DECODE), [staging.workload(0), staging.workload(2)]
    staging.write_blob(desk.dataset, lines[1])
    desk.dataset.write_workloads(definition, lines)
    desk.dataset.trace_path(definition).unlink()
    desk.dataset.append_traces(definition, [staging.trace(x, "flashinfer_decode") for x in lines])
    code, _ = prepared(desk, capsys)
    assert code == 0
    assert git("rev-parse", f"{BRANCH}^", at=desk.dataset.root) == first
    changed = [path.replace("_1.safetensors", "_2.safetensors") for path in BELONGING]
    assert sorted(changed_on(desk.dataset.root)) == sorted(changed)


def test_what_a_killed_run_left_is_no_hindrance(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    own = desk.dataset.root / ".git" / "kernelkit-publish"
    import hashlib

    left = own / hashlib.sha256(DECODE.encode()).hexdigest()[:12]
    git("worktree", "add", "--quiet", "--detach", left, "origin/main", at=desk.dataset.root)
    (left / "README.md").write_text("half")
    assert prepared(desk, capsys)[0] == 0
    assert list(own.iterdir()) == []


def test_nothing_to_publish_is_unchanged(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code = submit_prs.main(desk.words("--json", "--definitions", NORM))
    document = json.loads(capsys.readouterr().out)["definitions"][NORM]
    assert (code, document["status"], document["dataset"], document["coverage"]) == (
        0, "unchanged", None, None,
    )  # fmt: skip
    assert git("branch", "--list", "onboard/*", at=desk.dataset.root) == ""


def test_the_text_tells_of_the_reference_test_in_figures_that_one_reads(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    text = (desk.output / DECODE / "dataset_pr.md").read_text(encoding="utf-8")
    output = "`output`: max abs error 0.0078, cosine 0.999998, matched 100.00%"
    assert f"| flashinfer | small | passed | {output}; `lse`: max abs error 0.0018 |" in text
    assert "| flashinfer | large | skipped | too slow for the large size |" in text


def test_dry_run_makes_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in desk.dataset.root.parent.rglob("*"))
    code, document = prepared(desk, capsys, "--dry-run")
    assert code == 0
    assert sorted(document["definitions"][DECODE]["dataset"]["files"]) == BELONGING
    assert document["definitions"][DECODE]["coverage"]["files"] == [DOCUMENT]
    assert sorted(path for path in desk.dataset.root.parent.rglob("*")) == before
    assert not desk.output.exists()


def test_a_model_new_to_the_document_needs_its_config(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = "# Coverage\n\n## Summary\n\n| Model | Architecture | Coverage |\n|---|---|:-:|\n"
    desk.bench_upstream.commit({DOCUMENT: empty})
    git("fetch", "--quiet", at=desk.bench)
    code, document = prepared(desk, capsys)
    assert code == 1
    assert "--config FILE" in document["definitions"][DECODE]["errors"][0]
    assert changed_on(desk.dataset.root) == BELONGING  # the dataset's branch is ready all the same
    code, _ = prepared(desk, capsys, "--config", CONFIG)
    assert code == 0
    text = git("show", f"{BRANCH}:{DOCUMENT}", at=desk.bench)
    assert f"| `{DECODE}` | gqa_paged | ✅ |" in text
    assert changed_on(desk.bench) == [DOCUMENT]


def test_the_config_is_the_one_that_the_manifest_names(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    empty = "# Coverage\n\n## Summary\n\n| Model | Architecture | Coverage |\n|---|---|:-:|\n"
    desk.bench_upstream.commit({DOCUMENT: empty})
    git("fetch", "--quiet", at=desk.bench)
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE)
    held = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**held, "config": str(tmp_path / "gone.json")}))
    assert prepared(desk, capsys, "--manifest", manifest)[0] == 1
    manifest.write_text(json.dumps({**held, "config": str(CONFIG)}))
    assert prepared(desk, capsys, "--manifest", manifest)[0] == 0
    text = git("show", f"{BRANCH}:{DOCUMENT}", at=desk.bench)
    assert f"| `{DECODE}` | gqa_paged | ✅ |" in text


def test_a_cure_can_be_pasted_where_the_path_has_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    git("init", "--quiet", at=folder)
    git("remote", "add", "origin", tmp_path / "hosted.git", at=folder)
    with pytest.raises(UsageError) as refused:
        Repository.open(folder, Git(), "origin", what="it", option="--x").base  # noqa: B018
    assert f"git -C '{folder}' fetch origin" in str(refused.value)


def test_a_checkout_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q", at=tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match="another user") as caught:
        Repository.open(tmp_path, Git(), "origin", what="the dataset", option="--dataset-repo")
    assert "safe.directory" in str(caught.value.next_step)


def test_the_manifest_says_what_was_made(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE, "gemm_n1_k1")
    code, document = prepared(desk, capsys, "--manifest", manifest)
    assert code == 0
    assert document["skipped"] == {"gemm_n1_k1": "the dataset has no such definition"}
    held = staging.phase4(manifest)
    assert held["status"] == "ready"
    assert held["dataset"]["commit"] == git("rev-parse", BRANCH, at=desk.dataset.root)
    kernel = json.loads(manifest.read_text())["kernels"][0]
    assert kernel["fi_issue_url"] == "https://example.org/kept"
