"""The phases over one manifest: what each leaves, what a second run does, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from onboarding_place import Place, git

import discover_models
from kernelkit.dataset.store import Dataset
from kernelkit.onboarding import gpus

NORM, TOP_K = "rmsnorm_h256", "top_k_sampling_from_probs_v1000"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of a machine without one, wherever they run."""
    monkeypatch.setattr(gpus, "has_gpu", lambda: False)


def branches(place: Place) -> dict[str, str]:
    rows = git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads/onboard",
               at=place.dataset)  # fmt: skip
    return dict(row.split() for row in rows.splitlines())


def test_without_a_gpu_all_phases_complete_and_a_second_run_changes_nothing(
    onboard: Any, place: Place
) -> None:
    assert onboard("--skip-workload") == 0, place.said
    held = place.held()
    names = {kernel.definition_name for kernel in held.kernels}
    assert {NORM, TOP_K} <= names
    assert {n: s.status for n, s in (held.phases or {}).items()} == dict.fromkeys("01234", "done")
    assert set(Dataset.open(place.dataset).definitions()) == names
    assert set(branches(place)) == {f"onboard/{name}" for name in names}
    for kernel in held.kernels:
        assert kernel.phase2_status == "defined"
        assert kernel.skipped == {"3": "--skip-workload"}
        assert (kernel.phase2 or {})["sglang_pass"].startswith("not run: no NVIDIA GPU")
        assert (kernel.phase3 or {})["baseline"]
    assert git("branch", "--list", "onboard/*", at=place.root / "hosted.git") == ""
    before = (
        place.manifest.read_bytes(),
        branches(place),
        git("status", "--short", at=place.dataset),
    )
    assert onboard("--skip-workload") == 0
    after = place.manifest.read_bytes(), branches(place), git("status", "--short", at=place.dataset)
    assert before == after
    markdown = place.manifest.with_suffix(".md").read_text()
    assert f"| {NORM} | defined |" in markdown and "--skip-workload" in markdown


def test_workloads_need_a_gpu_and_each_kernel_says_so(onboard: Any, place: Place) -> None:
    assert onboard() == 3
    assert place.document["phases"]["3"]["status"] == "incomplete"
    assert {
        s: r["status"] for s, r in place.document["phases"].items() if s != "3"
    } == dict.fromkeys("0124", "done")
    whys = {kernel["skipped"]["3"] for kernel in place.document["kernels"]}
    assert whys == {"no NVIDIA GPU on this machine"}


def test_a_dry_run_writes_nothing(onboard: Any, place: Place) -> None:
    before = sorted(path for path in place.root.rglob("*") if ".git" not in path.parts)
    assert onboard("--dry-run") == 0
    assert sorted(path for path in place.root.rglob("*") if ".git" not in path.parts) == before
    assert any("definitions: " in line for line in place.document["phases"]["2"]["told"])
    assert "0 kernels" not in place.printed  # those of the manifest, which is not written


def test_phases_by_hand_work_on_the_same_manifest(onboard: Any, place: Place) -> None:
    words = ["--config", str(place.root / "config.json"), "--model-name", "toy", "--page-sizes",
             "1", "--op-types", "rmsnorm", "--manifest", str(place.manifest), "--dataset",
             str(place.dataset), "--flashinfer-path", str(place.root / "sources")]  # fmt: skip
    assert discover_models.main(words) == 0
    assert onboard("--phases", "2") == 0, place.said
    found = {k.definition_name: k.phase2_status for k in place.held().kernels}
    assert found == {NORM: "defined", "fused_add_rmsnorm_h256": "defined"}


def test_the_manifest_alone_is_enough_for_a_later_run(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "1", "--tp-list", "1,2") == 0
    words = ["--manifest", str(place.manifest), "--dataset", str(place.dataset), "--target-dir",
             str(place.root / "tmp"), "--no-run-tests", "--phases", "2"]  # fmt: skip
    assert onboard(words=words) == 0, place.said
    assert [s.tp for s in place.held().serving or []] == [1, 2]
    assert all(kernel.phase2_status == "defined" for kernel in place.held().kernels)


def test_another_definition_of_that_name_stops_only_its_kernel(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "1,2") == 0
    path = place.dataset / "definitions" / "sampling" / f"{TOP_K}.json"
    held = json.loads(path.read_text())
    held["inputs"]["top_k"]["dtype"] = "int64"
    path.write_text(json.dumps(held))
    place.manifest.unlink()
    assert onboard("--skip-workload") == 1
    assert "another definition of this name" in place.said
    kernels = {kernel.definition_name: kernel for kernel in place.held().kernels}
    assert kernels[TOP_K].phase2_status == "conflict"
    assert set(kernels[TOP_K].skipped or {}) == {"2", "3", "4"}
    assert "top_k" in (kernels[TOP_K].skipped or {})["2"]
    assert f"onboard/{TOP_K}" not in branches(place) and len(branches(place)) == len(kernels) - 1
    assert json.loads(path.read_text()) == held
