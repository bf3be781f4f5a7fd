"""The coverage document as lines: tables read, cells replaced, all other bytes left."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kernelkit.errors import FormatError, UsageError
from kernelkit.inventory.coverage.lines import (
    Document,
    cells,
    read_document,
    row_of,
    spans,
    titles_of,
)
from kernelkit.inventory.coverage.reading import blocks_of, summary_rows
from kernelkit.inventory.coverage.titles import Titles, title


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("| a | b |", ["a", "b"]),
        ("|a|b|", ["a", "b"]),
        ("  |  a  |b", ["a", "b"]),
        ("a | b", ["a", "b"]),
        ("| `a` | x \\| y | |", ["`a`", "x | y", ""]),
        ("| ✅ | ❌ (if) |  ", ["✅", "❌ (if)"]),
        ("||  |", ["", ""]),
    ],
)
def test_cells(row: str, found: list[str]) -> None:
    assert cells(row) == found


def test_a_cell_is_replaced_and_the_rest_of_its_line_stays() -> None:
    rng = random.Random(5)
    for _ in range(300):
        values = ["".join(rng.choice("ab`\\|✅ -") for _ in range(rng.randrange(6))).strip()
                  for _ in range(3)]  # fmt: skip
        values = [v.replace("\\", "") for v in values]
        line = row_of(*values).replace("| ", "|" + " " * rng.randrange(3))
        document = Document.of(f"{line}\r\nnext\n")
        before = cells(line)
        place = spans(line)[1]
        document.set_cell(0, 1, "N|W")
        after = document.content(0)
        assert after == line[: place[0]] + "N\\|W" + line[place[1] :]
        assert cells(after) == [before[0], "N|W", before[2]]
        assert document.lines[0].endswith("\r\n") and document.lines[1] == "next\n"


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\r\nb\rc\n\n", "\ufeffx\u2028y\x0bz\n", "\n\n"])
def test_any_text_survives_reading(text: str) -> None:
    assert Document.of(text).text == text


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    path = tmp_path / "d.mdx"
    data = b"## Summary\n\n\xff\xfe stray\n"
    path.write_bytes(data)
    assert read_document(path).text.encode("utf-8", "surrogateescape") == data


def test_what_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--create"):
        read_document(tmp_path / "none.mdx")
    path = tmp_path / "other.md"
    path.write_text("# Title\n")
    with pytest.raises(FormatError, match="Summary"):
        read_document(path)


def test_sections_and_tables_of_the_hand_kept_document(document: Path) -> None:
    found = read_document(document)
    titles = [section.title for section in found.sections()]
    assert titles == ["Summary", "Llama 3.1 8B", "DeepSeek V3 / R1", "Qwen3 30B A3B",
                      "Mistral Nemo 12B"]  # fmt: skip
    assert "Not A Model" not in titles_of(found)
    assert [row.model for row in summary_rows(found)][-1] == "Gone 7B"
    qwen = found.section("Qwen3 30B A3B")
    assert qwen is not None
    first, second = blocks_of(found, qwen)
    assert [e.name for e in first.entries] == ["rmsnorm_h2048", "gemm_n5120_k2048", None]
    assert [e.mark for e in second.entries] == [None]
    assert second.entries[0].label == {"tp": {"8"}}
    assert first.claim is not None and (first.claim.present, first.claim.total) == (1, 2)


@pytest.mark.parametrize(
    ("model", "heading"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 8B"),
        ("meta-llama/Llama-3.1-70B", "Llama 3.1 / 3.3 70B"),
        ("meta-llama/Llama-3.3-70B-Instruct", "Llama 3.1 / 3.3 70B"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek V3 / R1"),
        ("deepseek-ai/DeepSeek-V3.2-Exp", "DeepSeek V3.2"),
        ("deepseek-ai/DeepSeek-V3", "DeepSeek V3 / R1"),
        ("mistralai/Mistral-Nemo-Instruct-2407", "Mistral Nemo 12B"),
        ("microsoft/phi-4", "Phi-4 14B"),
        ("google/gemma-3-27b-it", "Gemma 3 27B"),
        ("Qwen/Qwen3-30B-A3B-FP8", "Qwen3 30B A3B"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3 Next 80B A3B"),
        ("MiniMaxAI/MiniMax-M2", "MiniMax M2 / Text-01"),
        ("nvidia/Nemotron-H-47B-Base-8K", "NemotronH 47B 8K"),
        ("kimi-k2", "Kimi K2"),
        ("moonshotai/Kimi-K2.5", None),
        ("Qwen/Qwen3-235B-A22B", None),
        ("meta-llama/Llama-3.1-405B", None),
        ("zai-org/GLM-4.6V", None),
    ],
)
def test_headings_stand_for_models(model: str, heading: str | None) -> None:
    names = ("DeepSeek V3 / R1", "DeepSeek V3.2", "Llama 3.1 8B", "Llama 3.1 / 3.3 70B",
             "Mistral Nemo 12B", "Phi-4 14B", "Gemma 3 27B", "Qwen3 30B A3B", "GLM-4.6",
             "Qwen3 Next 80B A3B", "MiniMax M2 / Text-01", "NemotronH 47B 8K",
             "Kimi K2")  # fmt: skip
    assert Titles(names).find(model) == heading


def test_a_new_heading_is_found_again() -> None:
    for model in ("Qwen/Qwen3-30B-A3B", "google/gemma-3-27b-it", "zai-org/GLM-4.6", "x/it"):
        assert Titles((title(model),)).find(model) == title(model)
