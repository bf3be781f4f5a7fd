"""One model's lines are put right; every other byte of the document stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from inventory_models import model_of

from kernelkit.dataset.store import Dataset
from kernelkit.inventory.coverage import checks, writing
from kernelkit.inventory.coverage.against_config import check_config
from kernelkit.inventory.coverage.expected import Derivable, Holdings, rows_of
from kernelkit.inventory.coverage.lines import Document, read_document
from kernelkit.inventory.coverage.texts import NEW_DOCUMENT, missing
from kernelkit.inventory.coverage.writing import Subject
from kernelkit.inventory.inventory import Sources, take
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request

LLAMA, QWEN = "meta-llama__Llama-3.1-8B", "Qwen__Qwen3-30B-A3B"
DEEPSEEK = "deepseek-ai__DeepSeek-V3"


def _subject(
    title: str, name: str, dataset: Dataset, sizes: Sequence[Parallelism] = (Parallelism(),)
) -> Subject:
    model = model_of(name)
    inventory = take(model, Request(parallel=tuple(sizes)), Sources(dataset))
    rows = rows_of(inventory, Holdings(dataset))
    return Subject(title, rows, Derivable((model.spec,), (1, 16, 64)), "")


def _write(document: Document, subject: Subject, dataset: Dataset, *, prune: bool = True) -> None:
    writing.write_model(document, subject, Holdings(dataset), prune=prune)


def _findings(document: Document, subject: Subject, dataset: Dataset) -> list[str]:
    section = document.section(subject.title)
    assert section is not None
    found = [
        *checks.check_section_files(document, section, Holdings(dataset)),
        *check_config(document, section, subject.rows, subject.derivable),
    ]
    return [f"{f.kind}: {f.message}" for f in found]


CASES = [
    ("Llama 3.1 8B", LLAMA, (Parallelism(), Parallelism(tp=2))),
    ("DeepSeek V3 / R1", DEEPSEEK, (Parallelism(8, 8),)),
    ("Qwen3 30B A3B", QWEN, (Parallelism(),)),
    ("Mistral Nemo 12B", LLAMA, (Parallelism(),)),  # a section in words gets a table
    ("Llama 3.1 8B copy", LLAMA, (Parallelism(),)),  # a section that is not there
]


@pytest.mark.parametrize(("title", "name", "sizes"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("crlf", [False, True], ids=["lf", "crlf"])
def test_only_the_models_lines_change(
    document: Path, held: Dataset, title: str, name: str, sizes: tuple[Parallelism, ...], crlf: bool
) -> None:
    if crlf:
        document.write_bytes(document.read_bytes().replace(b"\n", b"\r\n"))
    before = read_document(document)
    found = read_document(document)
    _write(found, _subject(title, name, held, sizes), held)
    assert found.text != before.text
    assert _others(found, title) == _others(before, title)
    if crlf:
        assert all(line.endswith("\r\n") for line in found.lines)


def _others(document: Document, title: str) -> list[str]:
    """All lines but those of the section and of its row in the summary."""
    section = document.section(title)
    own = set(range(section.start, section.stop)) if section else set()
    first = title.split()[0].lower()
    lines = [line for number, line in enumerate(document.lines) if number not in own]
    kept = [n for n in lines if not re.match(rf"\|\s*{first}[^|]*\|.*(GQA|MLA)", n, re.IGNORECASE)]
    while kept and kept[-1].strip() in ("", "---"):
        kept.pop()
    return kept


@pytest.mark.parametrize(("title", "name", "sizes"), CASES, ids=[c[0] for c in CASES])
def test_written_once_it_holds_and_a_second_time_changes_nothing(
    document: Path, held: Dataset, title: str, name: str, sizes: tuple[Parallelism, ...]
) -> None:
    found = read_document(document)
    subject = _subject(title, name, held, sizes)
    _write(found, subject, held)
    left = [text for text in _findings(found, subject, held) if "no known mark" not in text]
    # Words, labels and double lines by hand are named, not rewritten.
    by_hand = (
        "label",
        "duplicate",
        "mark",
        "layers: the text says 30 MoE",
        "layers: the text says 2",
    )
    assert [t for t in left if not t.startswith(by_hand)] == []
    once = found.text
    _write(found, subject, held)
    assert found.text == once


def test_without_prune_rows_that_do_not_follow_stay_and_are_named(
    document: Path, held: Dataset
) -> None:
    found = read_document(document)
    subject = _subject("DeepSeek V3 / R1", DEEPSEEK, held, (Parallelism(8, 8),))
    _write(found, subject, held, prune=False)
    assert "ckv576" in found.text and "ng?_kg?" in found.text
    assert sum(text.startswith("sizes") for text in _findings(found, subject, held)) == 2
    _write(found, subject, held, prune=True)
    assert "ckv576" not in found.text and "ng?_kg?" not in found.text


def test_a_hand_written_cell_keeps_its_words(document: Path, held: Dataset) -> None:
    found = read_document(document)
    _write(found, _subject("Llama 3.1 8B", LLAMA, held), held)
    assert "| `gemm_n6144_k4096` | gemm (fused \\| qkv_proj) | ✅ |" in found.text
    assert "Shares its GEMMs with Mistral 7B." in found.text
    assert "Missing: the sampling definitions" not in found.text


def test_counts_follow_the_table(document: Path, held: Dataset) -> None:
    found = read_document(document)
    _write(found, _subject("Qwen3 30B A3B", QWEN, held), held)
    assert "**Coverage**: 6 / 18 referenced definitions present. Missing: " in found.text
    assert "**Architecture**: 48 decoder layers, GQA attention, MoE FFN (30 MoE" in found.text
    assert "|  Qwen3 30B A3B|GQA + MoE |  🟡 Partial   |" in found.text


def test_refresh_needs_no_config(document: Path, held: Dataset) -> None:
    found = read_document(document)
    writing.refresh(found, "DeepSeek V3 / R1", Holdings(held))
    assert "❌ (if hidden=7168)" in found.text  # still missing: its words stay
    assert "**Coverage**: 0 / 5 definitions present." in found.text
    writing.refresh(found, "Qwen3 30B A3B", Holdings(held))
    assert "|  `gemm_n5120_k2048`  |gemm|   🟡|" in found.text


def test_a_new_document_from_nothing(held: Dataset) -> None:
    found = Document.of(NEW_DOCUMENT)
    for title, name, sizes in CASES[:3]:
        subject = _subject(title, name, held, sizes)
        _write(found, subject, held)
        assert _findings(found, subject, held) == []
    assert "| `mla_paged_decode_h16_ckv512_kpe64_ps1` | mla_paged TP=8 | ❌ |" in found.text
    assert "| Linear layers | gemm | — |" not in found.text  # its router is a gemm
    assert found.text.endswith("\n\n---\n")


def test_every_row_collected_is_fully_covered(held: Dataset) -> None:
    subject = _subject("Llama 3.1 8B", LLAMA, held)
    for row in subject.rows:
        path = held.root / "workloads" / row.op_type / f"{row.name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        definition = held.root / "definitions" / row.op_type / f"{row.name}.json"
        definition.parent.mkdir(parents=True, exist_ok=True)
        definition.touch()
    found = Document.of(NEW_DOCUMENT)
    _write(found, subject, held)
    assert "| Llama 3.1 8B | GQA + Dense | ✅ Fully covered |" in found.text
    assert "**Coverage**: 14 / 14 definitions present. Fully covered." in found.text


def test_what_is_missing_in_words() -> None:
    assert missing([], 3) == "Fully covered."
    assert missing([], 0) == ""
    assert missing([("a_h1", "x"), ("b_h2", "x")], 3) == "Missing: `a_h1`, `b_h2`."
    assert missing([(f"a{i}", "x") for i in range(5)] + [("b", "y")], 9) == "Missing: 5 x, 1 y."
