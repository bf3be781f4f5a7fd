"""Requests for FlashInfer and suggestions for SGLang: texts, filing once, patches that apply."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from onboarding_place import Place, git

from kernelkit.inventory.manifest import Evidence, Kernel
from kernelkit.onboarding import gpus, integration, requests

TOP_K = "top_k_sampling_from_probs_v1000"
API = "flashinfer.sampling.top_k_sampling_from_probs"
GH = """#!/bin/sh
echo "$@" >> "$GH_LOG"
case "$1 $2" in
  "issue list") if [ -s "$GH_ISSUES" ]; then cat "$GH_ISSUES"; else echo "[]"; fi ;;
  "issue create") [ -z "$GH_FAILS" ] || { echo "$GH_FAILS" >&2; exit 1; }
    echo "https://github.com/flashinfer-ai/flashinfer/issues/7" ;;
esac
"""


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "has_gpu", lambda: False)


@pytest.fixture
def gh(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gh` that logs what it is called with; returns the log."""
    program = place.root / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(GH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GH_LOG", str(place.root / "gh.log"))
    monkeypatch.setenv("GH_ISSUES", str(place.root / "issues.json"))
    monkeypatch.delenv("GH_FAILS", raising=False)
    return place.root / "gh.log"


def test_requests_are_filled_from_the_inventory(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "1,2") == 0, place.said
    template = place.output / "trace_template_requests" / f"{API}.md"
    text = template.read_text()
    assert f"`{API}` carries no trace template" in text and "flashinfer/sampling.py:5" in text
    assert f"`{TOP_K}`" in text and "def run(" in text and "| `vocab_size` | const |" in text
    joint = "flashinfer.sampling.top_k_top_p_sampling_from_probs"
    kernel = (place.output / "kernel_requests" / f"{joint}.md").read_text()
    assert f"It would be `{joint}`." in kernel and "| Definition | `vocab_size` |" in kernel
    assert not list(place.output.glob("*/*rmsnorm*"))  # supported, with a template


def test_issues_are_filed_once_and_their_urls_recorded(
    onboard: Any, place: Place, gh: Path
) -> None:
    assert onboard("--phases", "1,2", "--submit") == 0, place.said
    created = [line for line in gh.read_text().splitlines() if line.startswith("issue create")]
    held = place.held()
    asked = [k for k in held.kernels if k.fi_status == "fi_missing" or not k.fi_trace_template]
    assert len(created) == len(requests.groups(asked))
    assert all(
        (k.fi_issue_url or k.fi_trace_template_request_url or "").endswith("/7") for k in asked
    )
    gh.unlink()
    assert onboard("--phases", "1,2", "--submit") == 0
    assert not gh.exists() or "issue create" not in gh.read_text()


def test_an_issue_that_a_killed_run_has_filed_is_found(
    onboard: Any, place: Place, gh: Path
) -> None:
    url = "https://github.com/flashinfer-ai/flashinfer/issues/3"
    rows = [{"url": url, "title": f"Trace template for {API}"}, {"url": "x", "title": "other"}]
    (place.root / "issues.json").write_text(json.dumps(rows))
    assert onboard("--phases", "1,2", "--submit") == 0, place.said
    assert f"--title Trace template for {API}" not in gh.read_text()
    kernel = place.held().kernel(TOP_K)
    assert kernel is not None and kernel.fi_trace_template_request_url == url


def test_an_issue_that_is_refused_leaves_the_text_ready(
    onboard: Any, place: Place, gh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_FAILS", "HTTP 403: issues are disabled")
    assert onboard("--phases", "1,2", "--submit") == 1
    assert "issues are disabled" in place.said
    kernel = place.held().kernel(TOP_K)
    assert kernel is not None and kernel.fi_trace_template_request_url is None
    assert (place.output / "trace_template_requests" / f"{API}.md").is_file()


def test_kernels_that_differ_in_numbers_only_are_one_request() -> None:
    names = (
        "dsa_topk_indexer_fp8_h64_d128_topk2048_ps64",
        "dsa_topk_indexer_fp8_h32_d128_topk2048_ps64",
    )
    kernels = [Kernel(definition_name=name, op_type="dsa_paged") for name in names]
    other = Kernel(definition_name="rope_x", op_type="rope", fi_api="flashinfer.rope.x")
    assert [len(g) for g in requests.groups([*kernels, other]).values()] == [2, 1]
    assert set(requests.groups([*kernels, other])) == {"dsa_topk_indexer_fp8", "flashinfer.rope.x"}


def test_a_suggestion_stands_where_sglang_does_not_call(onboard: Any, place: Place) -> None:
    assert onboard("--phases", "1,2") == 0
    text = (place.output / "sglang" / "top_k_sampling_from_probs" / "pull_request.md").read_text()
    assert f"SGLang calls `{API}` nowhere" in text
    assert "seed: int | None=None," in text and "the place is open" in text


GUARDED = """import torch

from sglang.utils import is_cuda

if is_cuda():
    from flashinfer.sampling import (
        min_p_sampling_from_probs,
    )


def forward(probs, k):
    if k:
        return min_p_sampling_from_probs(
            probs, k)
"""
PLAIN = (
    '"""Sampling."""\n\nimport torch\n\n\ndef forward(probs, k):\n    return torch.topk(probs, k)\n'
)


@pytest.mark.parametrize(
    ("source", "line", "shown"),
    [
        (GUARDED, 14, "+    from flashinfer.sampling import top_k_sampling_from_probs"),
        (PLAIN, 7, "+except ImportError:"),
    ],
    ids=["guarded", "plain"],
)
def test_a_patch_applies_and_guards_its_import(
    tmp_path: Path, source: str, line: int, shown: str
) -> None:
    file = tmp_path / "sglang" / "srt" / "sampler.py"
    file.parent.mkdir(parents=True)
    file.write_text(source)
    place = Evidence(about="sglang", text="calls", file="sglang/srt/sampler.py", line=line)
    patch = integration.suggestion(tmp_path, [place], API)
    assert patch is not None and shown in patch
    git("init", "--quiet", at=tmp_path)
    done = subprocess.run(["git", "apply"], input=patch, text=True, cwd=tmp_path,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = file.read_text()
    compile(after, "sampler.py", "exec")
    kept = [row for row in source.splitlines() if row]
    assert [row for row in after.splitlines() if row in kept and row] == kept
    above = after[: after.index("return min_p" if source is GUARDED else "return torch")]
    assert above.rstrip().endswith("else keep the call below.")


def test_a_place_that_cannot_be_read_gives_no_patch(tmp_path: Path) -> None:
    place = Evidence(about="sglang", text="calls", file="sglang/absent.py", line=3)
    assert integration.suggestion(tmp_path, [place], API) is None
