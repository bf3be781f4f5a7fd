"""What an onboarding refuses, and what it does without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onboarding_place import ROOT, Place, git

from kernelkit.inventory.locks import run_lock
from kernelkit.onboarding import evaluation, gpus
from kernelkit.sources.catalogue import SOURCES


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of a machine without one, wherever they run."""
    monkeypatch.setattr(gpus, "has_gpu", lambda: False)


def test_phase_2_before_phase_1_says_what_to_run(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "2") == 2
    assert "run phase 1 before" in place.said


def test_a_second_run_at_once_is_refused(onboard: Any, place: Place) -> None:
    with run_lock(place.manifest):
        assert onboard("--phases", "1") == 1
    assert f"held by process {os.getpid()}" in place.said
    assert not place.manifest.exists()


def test_another_model_s_manifest_is_refused(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "1") == 0
    words = [word if word != "toy" else "other" for word in place.words()]
    assert onboard("--phases", "1", words=words) == 2
    assert place.held().model_slug == "toy"


@pytest.mark.parametrize(
    ("word", "said"),
    [("--bench-arg=--workloads=2", "only what says how"), ("--bench-arg=--iterations=0", "0"),
     ("--collect-arg=--ils=2", "--ils=2")],
)  # fmt: skip
def test_options_for_other_scripts_are_read_before_anything_is_done(
    onboard: Any, place: Place, capsys: pytest.CaptureFixture[str], word: str, said: str
) -> None:
    try:
        code, text = onboard("--phases", "1", word), place.said
    except SystemExit as error:
        code, text = error.code, capsys.readouterr().err
    assert code == 2 and said in text
    assert not place.manifest.exists()


def test_how_baselines_are_measured_can_be_said() -> None:
    found = evaluation.settings_of(["--iterations=7", "--num-trials=1"])
    assert (found.iterations, found.trials, found.warmup) == (7, 1, 10)
    assert evaluation.settings_of([]).seed_is_drawn


def test_a_folder_that_is_no_checkout_fails_in_phase_4_only(
    onboard: Any, place: Place, tmp_path: Path
) -> None:
    words = [
        word if word != str(place.dataset) else str(tmp_path / "bare") for word in place.words()
    ]
    assert onboard("--skip-workload", "--create", words=words) == 2
    statuses = {n: p["status"] for n, p in place.document["phases"].items()}
    assert statuses == {"0": "done", "1": "done", "2": "done", "3": "done", "4": "failed"}
    assert "not a git checkout" in place.said


def test_without_network_what_needs_it_says_so_and_the_rest_is_done(place: Place) -> None:
    words = place.words("--phases", "0,1,2", "--mirror", "sglang=http://127.0.0.1:9/sglang.git")
    at = words.index("--sglang-path")
    del words[at : at + 2]
    done = _process(words)
    assert done.returncode == 3, done.stderr
    assert "missing: sglang:" in done.stderr and "--mirror sglang=" in done.stderr
    document = json.loads(done.stdout)
    assert [p["status"] for p in document["phases"].values()] == ["incomplete", "done", "done"]


def test_without_network_nothing_is_missing_that_is_here(onboard: Any, place: Place) -> None:
    """All sources at hand: every phase completes, though no remote answers."""
    git("remote", "set-url", "origin", "http://127.0.0.1:9/dataset.git", at=place.dataset)
    assert onboard("--skip-workload") == 0, place.said
    assert {p["status"] for p in place.document["phases"].values()} == {"done"}
    assert git("branch", "--list", "onboard/*", at=place.dataset)


@pytest.mark.parametrize(("before", "code"), [([], 3), (["--skip-workload"], 1)])
def test_a_submission_that_waits_for_a_gpu_is_not_called_done(
    onboard: Any, place: Place, monkeypatch: pytest.MonkeyPatch, before: list[str], code: int
) -> None:
    monkeypatch.setattr(gpus, "has_gpu", lambda: False)
    onboard("--phases", "0,1,2,3", *before)
    assert onboard("--phases", "4", "--submit") == code, place.said
    problem = place.document["phases"]["4"]["problems"][0]
    assert "not submitted" in problem and "--allow-incomplete" in problem
    assert git("branch", "--list", "onboard/*", at=place.root / "hosted.git") == ""


def test_without_network_a_submission_says_so_and_ends_with_3(
    onboard: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("remote", "set-url", "origin", "http://127.0.0.1:9/dataset.git", at=place.dataset)
    monkeypatch.setattr("kernelkit.publish.github.programs.find", lambda names: None)
    monkeypatch.setattr("kernelkit.machine.programs.find", lambda names: None)
    assert onboard("--skip-workload", "--submit") == 3, place.said
    states = {n: p["status"] for n, p in place.document["phases"].items()}
    assert states == {"0": "done", "1": "done", "2": "incomplete", "3": "done", "4": "incomplete"}
    assert "cannot be fetched" in place.document["phases"]["4"]["problems"][0]
    git("remote", "set-url", "origin", place.root / "hosted.git", at=place.dataset)
    assert onboard("--skip-workload") == 0, place.said


def test_without_network_and_with_nothing_here_every_phase_says_what_it_lacks(
    place: Place,
) -> None:
    pytest.importorskip("huggingface_hub")
    words = ["--hf-repo-id", "nobody/toy", "--target-dir", str(place.root / "new"), "--jobs", "4",
             *(f"--mirror={name}=http://127.0.0.1:9/{name}.git" for name in SOURCES)]  # fmt: skip
    done = _process(words, **_no_hub(place))
    assert done.returncode == 3, done.stderr
    phases = json.loads(done.stdout)["phases"]
    assert {phase["status"] for phase in phases.values()} == {"incomplete"}
    assert len(phases["0"]["problems"]) == 4
    assert phases["1"]["problems"] == phases["4"]["problems"] == ["waits for phase 0"]


def test_a_config_that_cannot_be_fetched_ends_with_3(place: Place) -> None:
    pytest.importorskip("huggingface_hub")
    words = place.words("--phases", "1,2,3,4")
    at = words.index("--config")
    words[at : at + 2] = ["--hf-repo-id", "nobody/toy"]
    done = _process(words, **_no_hub(place))
    assert done.returncode == 3, done.stderr
    assert "the hub cannot be reached for nobody/toy" in done.stderr
    later = list(json.loads(done.stdout)["phases"].values())[1:]
    assert len(later) == 3
    assert all(phase["problems"] == ["waits for phase 1"] for phase in later)


def _no_hub(place: Place) -> dict[str, str]:
    return {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(place.root / "hub")}  # fmt: skip


def _process(words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "onboard_model.py"), *words, "--json"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env},
                          timeout=120)  # fmt: skip
