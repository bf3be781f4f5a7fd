"""The side-by-side benchmark of the fast kernels: real cases, and numbers that are what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
import kernel_cases  # noqa: E402
import kernels  # noqa: E402
from kernel_cases import Workload  # noqa: E402

from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.base import check_axes  # noqa: E402

TINY = family("gemm").definition(24, 40)
PAGED = family("gqa_paged").definition(4, 2, 16, 4, prefill=False)


def test_every_case_has_ours_and_another() -> None:
    for definition, workloads in kernel_cases.table():
        names = [each.name for each in kernel_cases.contenders(definition)]
        assert names[0] == "ours" and len(names) == len(set(names)) > 1, definition.name
        for workload in workloads:
            check_axes(definition, workload.axes)


def test_requests_of_equal_length() -> None:
    axes = {"batch_size": 3, "len_indptr": 4, "num_kv_indices": 6, "num_pages": 7}
    inputs = Workload("x", axes).inputs(PAGED, "cpu")
    assert inputs["kv_indptr"].tolist() == [0, 2, 4, 6]
    assert inputs["kv_last_page_len"].tolist() == [4, 4, 4]


def test_recorded_workloads(extra: Path) -> None:
    found = kernel_cases.recorded(family("gemm").definition(4096, 4096))
    sizes = [each.axes["M"] for each in found]
    assert len(sizes) == kernel_cases.RECORDED and sizes == sorted(set(sizes))


def test_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setattr(kernel_cases, "table", lambda: [(TINY, [Workload("m3", {"M": 3})])])
    given = ["--device", "cpu", "--contenders", "torch", "--output", str(tmp_path), "--json"]
    assert kernels.main(given) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["rows"]
    assert row["times"]["torch"]["us"] > 0 and 0 < row["times"]["torch"]["percent"] < 200
    text = (tmp_path / "kernels.md").read_text(encoding="utf-8")
    assert "**gemm_n24_k40**" in text and "| m3 |" in text
    assert json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8")) == document


def test_what_was_not_begun_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_cases, "table", lambda: [(TINY, [Workload("m3", {"M": 3})])])
    given = ["--device", "cpu", "--contenders", "torch", "--seconds", "1e-9"]
    assert kernels.main(given) == 5
    assert "Not begun in time: gemm_n24_k40 m3" in capsys.readouterr().out


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "import torch\n\n\ndef run(hidden_states, weight):\n    return hidden_states * 1.5\n"
    monkeypatch.setitem(kernel_cases.TORCH, "rmsnorm", wrong)
    tiny = family("rmsnorm").definition(16, 1e-5)
    monkeypatch.setattr(
        kernel_cases, "table", lambda: [(tiny, [Workload("b3", {"batch_size": 3})])]
    )
    monkeypatch.setattr(kernel_cases, "OURS", "dense_baseline")
    monkeypatch.setattr(kernels.cli, "emit", lambda document, **_: seen.append(document))
    seen: list[dict] = []
    assert kernels.main(["--device", "cpu"]) == 0
    times = seen[0]["rows"][0]["times"]
    assert "INCORRECT" in times["torch"]["error"] and times["ours"]["us"] > 0
    assert seen[0]["means"] == {}


def test_means_are_geometric() -> None:
    rows = [{"definition": "d", "times": {"ours": {"us": 2.0}, "a": {"us": us}, "b": {"us": 99.0}}}
            for us in (4.0, 16.0)]  # fmt: skip
    assert kernels.means(rows) == {"d": pytest.approx(4.0)}
