"""Branches, files and folders that stand in the way: one sentence each, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import publish_staging as staging
import pytest
from publish_staging import (
    BELONGING,
    BRANCH,
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


def test_a_document_that_changed_since_is_brought_together(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(desk, capsys)
    first = git("rev-parse", BRANCH, at=desk.bench)
    text = (desk.bench / DOCUMENT).read_text()
    desk.bench_upstream.commit({DOCUMENT: text.replace("dense MLP", "dense MLPs, 32 of them")})
    git("fetch", "--quiet", at=desk.bench)
    for _ in range(2):
        assert prepared(desk, capsys)[0] == 0
        assert changed_on(desk.bench) == [DOCUMENT]
        merged = git("show", f"{BRANCH}:{DOCUMENT}", at=desk.bench)
        assert "32 of them" in merged and f"| `{DECODE}` | gqa_paged | ✅ |" in merged
        tip = git("rev-parse", BRANCH, at=desk.bench)
        assert git("merge-base", tip, first, at=desk.bench) == first  # nothing was rewritten
        parents = git("rev-list", "--parents", "-n1", tip, at=desk.bench).split()[1:]
        assert parents == [first, git("rev-parse", "origin/main", at=desk.bench)]


def test_another_file_in_the_document_s_place_is_named_where_it_lies(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.bench_upstream.commit({DOCUMENT: "# Not that document\n"})
    git("fetch", "--quiet", at=desk.bench)
    code, document = prepared(desk, capsys)
    (error,) = document["definitions"][DECODE]["errors"]
    assert code == 1
    assert f"{DOCUMENT} in {desk.bench} is no coverage document" in error
    assert "--coverage-document" in error and "update_coverage.py" in error
    assert git("branch", "--list", BRANCH, at=desk.dataset.root)  # the other side stands


def test_branch_of_somebody_else(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    root = desk.dataset.root
    git("switch", "--quiet", "-c", BRANCH, at=root)
    (root / "other.txt").write_text("x")
    git("add", "other.txt", at=root)
    git("commit", "--quiet", "-m", "other", at=root)
    git("switch", "--quiet", "main", at=root)
    tip = git("rev-parse", BRANCH, at=root)
    code, document = prepared(desk, capsys)
    assert code == 1
    error = document["definitions"][DECODE]["errors"][0]
    assert "other.txt" in error and "--branch-prefix" in error
    assert git("rev-parse", BRANCH, at=root) == tip
    assert prepared(desk, capsys, "--branch-prefix", "second/")[0] == 0


def test_branch_that_is_checked_out(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    git("switch", "--quiet", "-c", BRANCH, at=desk.dataset.root)
    code, document = prepared(desk, capsys)
    assert code == 1
    assert "checked out" in document["definitions"][DECODE]["errors"][0]


def test_no_author(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        for what in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{who}_{what}")
    git("config", "user.useConfigOnly", "true", at=desk.dataset.root)
    code, document = prepared(desk, capsys)
    assert code == 1
    assert "user.name" in document["definitions"][DECODE]["errors"][0]
    assert git("branch", "--list", "onboard/*", at=desk.dataset.root) == ""


def test_a_file_changed_on_both_sides(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = f"definitions/rmsnorm/{NORM}.json"
    mine = desk.dataset.root / path
    theirs = json.loads(mine.read_text())
    desk.upstream.commit({path: json.dumps({**theirs, "description": "theirs"})})
    mine.write_text(json.dumps({**theirs, "description": "mine"}))
    git("fetch", "--quiet", at=desk.dataset.root)
    code = submit_prs.main(desk.words("--json", "--definitions", NORM))
    error = json.loads(capsys.readouterr().out)["definitions"][NORM]["errors"][0]
    assert code == 1
    assert "origin/main since" in error


def test_what_others_published_since_is_not_taken_back(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"definitions/rmsnorm/{NORM}.json"
    theirs = json.loads((desk.dataset.root / path).read_text())
    desk.upstream.commit({path: json.dumps({**theirs, "description": "x"}), "new.txt": "theirs"})
    git("fetch", "--quiet", at=desk.dataset.root)
    assert prepared(desk, capsys)[0] == 0
    assert changed_on(desk.dataset.root) == BELONGING
    code = submit_prs.main(desk.words("--json", "--definitions", NORM))
    document = json.loads(capsys.readouterr().out)["definitions"][NORM]
    assert (code, document["dataset"]) == (0, None)


def test_a_dataset_that_is_no_checkout(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dataset = Dataset.create(tmp_path / "plain")
    staging.stage_decode(dataset)
    words = ["--dataset", str(dataset.root), "--definitions", DECODE, "--output", str(desk.output)]
    assert submit_prs.main(words) == 2
    assert "--dataset-repo" in capsys.readouterr().err
    assert submit_prs.main([*words, "--dataset-repo", str(desk.dataset.root)]) == 0
    assert changed_on(desk.dataset.root) == BELONGING


def test_published_lines_are_not_lost_from_a_plain_folder(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = staging.workload(7)
    desk.upstream.commit({f"workloads/gqa_paged/{DECODE}.jsonl": line.to_line() + "\n"})
    git("fetch", "--quiet", at=desk.dataset.root)
    dataset = Dataset.create(tmp_path / "plain")
    staging.stage_decode(dataset)
    words = ["--dataset", str(dataset.root), "--definitions", DECODE, "--output", str(desk.output)]
    code = submit_prs.main([*words, "--json", "--dataset-repo", str(desk.dataset.root)])
    error = json.loads(capsys.readouterr().out)["definitions"][DECODE]["errors"][0]
    assert code == 1
    assert "lacks 1 lines that are published" in error


def test_one_bad_definition_hides_no_other(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    (desk.dataset.root / "definitions" / "rmsnorm" / "rmsnorm_h1.json").write_text("{")
    words = desk.words("--json", "--definitions", f"rmsnorm_h1,{DECODE}")
    assert submit_prs.main(words) == 1
    found = json.loads(capsys.readouterr().out)["definitions"]
    assert found["rmsnorm_h1"]["status"] == "failed"
    assert found[DECODE]["status"] == "ready"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--definitions", "no_such"], 4, "none of these definitions"),
        ([], 2, "nothing is selected"),
        (["--definitions", DECODE, "--remote", "upstream"], 2, "origin"),
        (["--definitions", DECODE, "--submit", "--dry-run"], 2, "--dry-run"),
        (["--definitions", DECODE, "--manifest", "absent.json"], 2, "manifest"),
    ],
)
def test_usage(
    desk: Desk, capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    assert submit_prs.main(desk.words(*words)) == code
    out = capsys.readouterr()
    assert out.out == ""
    assert text in out.err and out.err.count("\n") == 1
