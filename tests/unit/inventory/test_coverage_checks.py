"""Contradictions of a hand-kept document are found, each at its line; a written one has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventory_models import model_of

from kernelkit.dataset.store import Dataset
from kernelkit.inventory.coverage import checks
from kernelkit.inventory.coverage.against_config import check_config
from kernelkit.inventory.coverage.expected import Derivable, Holdings
from kernelkit.inventory.coverage.lines import Document, read_document

Found = set[tuple[int, str]]


def _files(path: Path, dataset: Dataset) -> Found:
    found = checks.check_files(read_document(path), Holdings(dataset))
    return {(f.line, f.kind) for f in found if f.kind != "untracked"}


def _line(path: Path, text: str) -> int:
    lines = path.read_text("utf-8").splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if text in line]
    return number


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("| Llama 3.1 8B | GQA + Dense |", "summary"),
        ("| Gone 7B |", "summary"),
        ("| `fused_add_rmsnorm_h4096` |", "mark"),
        ("| `gemm_n6144_k4096` |", "mark"),
        ("| `rmsnorm_h4096` | rmsnorm | 🟡", "mark"),
        ("| `rmsnorm_h4096` | rmsnorm | 🟡", "duplicate"),
        ("**Coverage**: 6 / 14", "count"),
        ("_ng?_kg?_", "placeholder"),
        ("**Coverage**: 0 / ?", "count"),
        ("|  `gemm_n5120_k2048`  |", "mark"),
        ("| done |", "mark"),
    ],
)
def test_what_files_decide(document: Path, held: Dataset, text: str, kind: str) -> None:
    assert (_line(document, text), kind) in _files(document, held)


def test_a_row_whose_file_is_gone_is_found(document: Path, held: Dataset) -> None:
    (held.root / "definitions" / "rmsnorm" / "rmsnorm_h2048.json").unlink()
    assert (_line(document, "|`rmsnorm_h2048`|"), "absent") in _files(document, held)


def test_definitions_in_no_row_are_named(document: Path, held: Dataset) -> None:
    found = checks.check_files(read_document(document), Holdings(held))
    named = {f.message.split()[0] for f in found if f.kind == "untracked"}
    assert "gemm_n28672_k4096" in named
    assert "rmsnorm_h4096" not in named


def test_workloads_behind_a_pointer_count(document: Path, held: Dataset) -> None:
    path = held.root / "workloads" / "gemm" / "gemm_n6144_k4096.jsonl"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert Holdings(held).mark("gemm_n6144_k4096") == "✅"
    path.write_text("\n\n")
    assert Holdings(held).mark("gemm_n6144_k4096") == "🟡"
    assert Holdings(held).mark("no_such_name") == "❌"


def _all(path: Path, title: str, *names: str) -> set[tuple[int, str, str]]:
    document = read_document(path)
    section = document.section(title)
    assert section is not None
    derivable = Derivable(tuple(model_of(name).spec for name in names), (1, 16, 64))
    found = check_config(document, section, (), derivable)
    return {(f.line, f.kind, f.message) for f in found}


def _config(path: Path, title: str, *names: str) -> dict[str, str]:
    return {f"{line} {kind}": text for line, kind, text in _all(path, title, *names)}


def test_sizes_against_the_config_of_llama(document: Path) -> None:
    found = _config(document, "Llama 3.1 8B", "meta-llama__Llama-3.1-8B")
    sharded = _line(document, "| `gemm_n3072_k4096` |")
    label = _line(document, "| `gqa_paged_decode_h32_kv8_d128_ps1` |")
    assert found.keys() == {f"{sharded} sizes", f"{label} label"}
    assert "one rank's share at TP=2" in found[f"{sharded} sizes"]
    assert "follows at TP=1, the row says TP=2" in found[f"{label} label"]


def test_sizes_against_the_config_of_deepseek(document: Path) -> None:
    found = _config(document, "DeepSeek V3 / R1", "deepseek-ai__DeepSeek-V3")
    wrong = _line(document, "_ckv576_")
    dense = _line(document, "| `gemm_n7168_k16384` |")
    assert found.keys() == {f"{wrong} sizes", f"{dense} sizes"}
    assert "nearest that does: mla_paged_decode_h16_ckv512_kpe64_ps1" in found[f"{wrong} sizes"]
    assert "linear layers are fp8_block" in found[f"{dense} sizes"]


def test_layers_and_architecture_of_qwen(document: Path) -> None:
    found = _all(document, "Qwen3 30B A3B", "Qwen__Qwen3-30B-A3B")
    layers = _line(document, "30 MoE + 2 dense")
    assert found == {
        (layers, "layers", "the text says 32 layers, the config 48"),
        (layers, "layers", "the text says 30 MoE, the config 48"),
        (layers, "layers", "the text says 2 dense, the config 0"),
        (_line(document, "|  Qwen3 30B A3B|"), "architecture",
         "the summary says 'GQA + Dense', the config 'GQA + MoE'"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name", "wrong"),
    [
        ("48 layers total: 36 GDN + 12 GQA", "Qwen__Qwen3-Next-80B-A3B-Instruct", 0),
        ("48 layers: 30 GDN (linear) and 12 GQA layers", "Qwen__Qwen3-Next-80B-A3B-Instruct", 1),
        ("61 decoder layers, 3 dense, 58 MoE", "deepseek-ai__DeepSeek-V3", 0),
        ("118 layers, 10 GQA layers, 54 Mamba2 layers", "nvidia__Nemotron-H-56B-Base-8K", 0),
        ("32 q-heads / 8 kv-heads, 2:1 GQA", "meta-llama__Llama-3.1-8B", 0),
    ],
)
def test_counts_of_kinds_of_layers(text: str, name: str, wrong: int) -> None:
    document = Document.of(f"## Summary\n\n## X\n\n**Architecture**: {text}\n")
    section = document.section("X")
    assert section is not None
    found = check_config(document, section, (), Derivable((model_of(name).spec,)))
    assert sum(finding.kind == "layers" for finding in found) == wrong


def test_a_heading_of_two_models_takes_the_names_of_both() -> None:
    text = "## Summary\n\n## Q\n\n| Definition | Op Type | Status |\n|-|-|-|\n"
    document = Document.of(text + "| `gemm_n5120_k2048` | gemm | ❌ |\n")
    section = document.section("Q")
    assert section is not None
    for names, count in (
        (("Qwen__Qwen3-30B-A3B-FP8",), 1),
        (("Qwen__Qwen3-30B-A3B-FP8", "Qwen__Qwen3-30B-A3B"), 0),
    ):
        derivable = Derivable(tuple(model_of(name).spec for name in names))
        found = [f for f in check_config(document, section, (), derivable)]
        assert sum(f.kind == "sizes" for f in found) == count
