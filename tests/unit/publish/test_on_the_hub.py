"""--submit to the hub's API: what it is sent, and going on where it was cut off."""

from __future__ import annotations

import shutil
from pathlib import Path

import publish_staging as staging
import pytest
from hub_stub import HubStub
from publish_staging import BELONGING, DECODE, Desk, pull_requests, submitted

# huggingface_hub 2.4 sends a file in a way that its own HTTP library calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
needs_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def test_again_opens_nothing_new_and_sends_no_object_twice(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(desk, capsys)
    sent = list(hub.uploads)
    code, found = submitted(desk, capsys)
    assert (code, found["status"]) == (0, "published")
    assert hub.uploads == sent and len(sent) == 2
    assert (len(hub.requests), len(hub.requests[0].commits), len(pull_requests(gh))) == (1, 1, 1)


def test_a_change_goes_to_the_open_pull_request(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(desk, capsys)
    definition, more = staging.definition(DECODE), staging.workload(2)
    staging.write_blob(desk.dataset, more)
    desk.dataset.write_workloads(definition, [staging.workload(n) for n in range(3)])
    desk.dataset.append_traces(definition, [staging.trace(more, "flashinfer_decode")])
    code, _ = submitted(desk, capsys)
    assert code == 0
    (request,) = hub.requests
    assert len(request.commits) == 2
    assert len(request.files[f"workloads/gqa_paged/{DECODE}.jsonl"].splitlines()) == 3
    assert len(pull_requests(gh)) == 1


def test_an_upload_that_is_cut_off_is_gone_on_with(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail_uploads_after = 1
    code, found = submitted(desk, capsys)
    assert code == 1
    assert found["status"] == "failed" and len(hub.uploads) == 1
    assert hub.requests == [] and pull_requests(gh) == []
    assert found["coverage"]["note"] == "waits for the dataset's pull request"
    hub.fail_uploads_after = None
    code, found = submitted(desk, capsys)
    assert (code, found["status"]) == (0, "published")
    assert len(hub.uploads) == len(set(hub.uploads)) == 2


def test_an_object_committed_before_and_dropped_since_leaves_the_request(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(desk, capsys)
    definition, line = staging.definition(DECODE), staging.workload(0)
    desk.dataset.write_workloads(definition, [line])
    desk.dataset.trace_path(definition).unlink()
    desk.dataset.append_traces(definition, [staging.trace(line, "flashinfer_decode")])
    assert submitted(desk, capsys)[0] == 0
    gone = f"blob/workloads/gqa_paged/{DECODE}/{DECODE}_1.safetensors"
    assert sorted(hub.requests[0].files) == [path for path in BELONGING if path != gone]


def test_a_pull_request_that_was_closed_is_not_opened_again(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    manifest = staging.write_manifest(tmp_path / "run.json", DECODE)
    submitted(desk, capsys, "--manifest", manifest)
    hub.requests[0].status = "closed"
    for _ in range(2):  # the record of it lasts
        code, found = submitted(desk, capsys, "--manifest", manifest)
        assert code == 1
        assert "not open any more" in found["errors"][0]
    assert len(hub.requests) == 1


def test_what_is_absent_is_submitted_on_request(
    desk: Desk, hub: HubStub, gh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.dataset.trace_path(staging.definition(DECODE)).unlink()
    code, found = submitted(desk, capsys)
    assert (code, found["status"]) == (1, "incomplete")
    assert hub.requests == [] and pull_requests(gh) == []
    code, found = submitted(desk, capsys, "--allow-incomplete")
    assert (code, found["status"]) == (0, "published")
    assert "- [ ] traces PASSED (absent)" in hub.requests[0].description
