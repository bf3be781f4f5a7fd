"""What an onboarding refuses, and what it does without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onboarding_place import ROOT, Place

from kernelkit.inventory.locks import run_lock
from kernelkit.onboarding import gpus


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


def test_a_config_that_cannot_be_fetched_ends_with_3(place: Place) -> None:
    pytest.importorskip("huggingface_hub")
    words = place.words("--phases", "1")
    at = words.index("--config")
    words[at : at + 2] = ["--hf-repo-id", "nobody/toy"]
    done = _process(words, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0",
                    HF_HOME=str(place.root / "hub"))  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "the hub cannot be reached for nobody/toy" in done.stderr


def _process(words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "onboard_model.py"), *words, "--json"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env},
                          timeout=120)  # fmt: skip
