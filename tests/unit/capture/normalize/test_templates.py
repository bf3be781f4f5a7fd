"""Surveys of FlashInfer's templates: differences of two, the table, the way there and back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dumps
import pytest

from kernelkit.capture.normalize import templates
from kernelkit.capture.normalize.model_calls import agreement
from kernelkit.capture.normalize.report import sources_of
from kernelkit.capture.normalize.survey import Entry, Survey, survey, write
from kernelkit.dataset.definition import Definition
from kernelkit.errors import MissingDependencyError
from kernelkit.ops import family

ROOT = Path(__file__).resolve().parents[4]
TABLE = ROOT / ".claude/skills/extract-kernel-definitions/reference/template_coverage.md"


def entry(raw: dumps.RawDump, **fields: object) -> Entry:
    """A survey's answer for a dump."""
    label = raw.name.split("_h")[0]
    return Entry(f"{raw.api}:{label}", str(raw.document["op_type"]), raw.api, label, True,
                 raw.document, **fields)  # fmt: skip


def of(*entries: Entry, version: str = "1") -> Survey:
    """A survey of these entries."""
    return Survey(version, list(entries), [])


def test_changes_are_named() -> None:
    norm, changed = dumps.rmsnorm(4096), dumps.rmsnorm(4096)
    changed.document["inputs"]["eps"] = {"shape": None, "dtype": "float32", "optional": True}
    changed.document["reference"] += "# other\n"
    other = dumps.ragged(32, 8, 128)
    old, new = of(entry(norm), entry(other)), of(entry(changed), entry(dumps.mla()))
    found = {(kind, key.split(":")[0]): text for kind, key, text in templates.changes(old, new)}
    assert found["changed", "flashinfer.norm.rmsnorm"] == "inputs: new eps:float32?"
    assert "before" in found["reference", "flashinfer.norm.rmsnorm"]
    assert ("added", "flashinfer.mla.BatchMLAPagedAttentionWrapper") in found
    assert ("removed", "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper") in found
    assert list(templates.changes(old, old)) == []


def test_a_module_that_did_not_import_is_not_removed() -> None:
    module = {"module": "flashinfer.norm", "error": "ModuleNotFoundError: cutlass"}
    new = Survey("2", [], [module])
    found = list(templates.changes(of(entry(dumps.rmsnorm(4096))), new))
    assert [kind for kind, _, _ in found] == ["not asked"]
    assert "cutlass" in found[0][2]


def test_a_moved_module_is_no_change() -> None:
    moved = dumps.mla()
    moved.document["tags"] = []
    inner = "flashinfer.mla._batch_mla._wrapper.BatchMLAPagedAttentionWrapper.run"
    before = entry(dumps.mla())
    after = Entry(f"{inner}:mla_paged_decode", "mla_paged", inner, "mla_paged_decode", True,
                  dumps.mla().document)  # fmt: skip
    key = Entry(before.key.split(":")[0] + ":mla_paged_decode", "mla_paged", before.api,
                "mla_paged_decode", True, before.dump)  # fmt: skip
    assert list(templates.changes(of(key), of(after))) == []


def test_the_table_counts_what_becomes_of_templates() -> None:
    bare = dumps.dump("x_s4", "flashinfer.x.y", {"size": 4}, {}, {}, None)
    silent = Entry("k:l", "other", "flashinfer.x.z", "l", True, None, "TypeError: no")
    found = of(entry(dumps.rmsnorm(4096)), entry(bare), silent, version="9.9")
    covered = templates.cover(found, Path("."), None)
    assert templates.counts(covered) == {"family": 1, "refused": 2}
    text = templates.table(found, covered)
    assert "flashinfer-python 9.9" in text
    assert "| `norm.rmsnorm` | rmsnorm | 1 | family: rmsnorm |" in text
    assert "TypeError: no" in text


def test_dumps_of_one_name_are_both_written(tmp_path: Path) -> None:
    first = entry(dumps.rmsnorm(4096))
    assert write(of(first, first), tmp_path) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "context.jsonl", "rmsnorm_h4096.2.json", "rmsnorm_h4096.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "rmsnorm_h4096.json").read_text())["name"] == "rmsnorm_h4096"


def _norm() -> Definition:
    return family("rmsnorm").definition(4096, 1e-6)


def test_there_and_back() -> None:
    assert agreement(_norm(), entry(dumps.rmsnorm(4096)), None).state == "agrees"
    assert agreement(_norm(), entry(dumps.rmsnorm(5120)), None).state == "differs"
    seen = entry(dumps.rmsnorm(4096), differences=["axis hidden_size: derived 1, FlashInfer 2"])
    assert agreement(_norm(), seen, None).state == "differs"
    assert agreement(_norm(), Entry("k", "rmsnorm", error="none"), None).state == "no template"


def test_a_folder_without_flashinfer(tmp_path: Path) -> None:
    (tmp_path / "flashinfer").mkdir()
    (tmp_path / "flashinfer" / "__init__.py").write_text("raise ImportError('not here')\n")
    with pytest.raises(MissingDependencyError, match="not here"):
        survey(tmp_path)


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder of the FlashInfer at hand; skips without one."""
    pytest.importorskip("torch")
    folder = sources_of(None)
    if folder is None:
        pytest.skip("flashinfer is not installed")
    return folder


def test_definitions_come_back_from_the_real_templates(installed: Path) -> None:
    definitions = [
        _norm(), family("gqa_paged").definition(32, 8, 128, 64, prefill=True),
        family("mla_ragged").definition(16, 192, 128),
        family("sampling").definition("top_k_top_p", 1000),
    ]  # fmt: skip
    found = survey(installed, definitions)
    states = [agreement(d, e, None).state for d, e in zip(definitions, found.entries, strict=True)]
    assert states == ["agrees"] * 4


def test_the_table_is_not_stale(installed: Path) -> None:
    text = TABLE.read_text(encoding="utf-8")
    found = survey(installed)
    version = re.search(r"flashinfer-python (\S+)", text)
    assert version is not None
    if version[1] != found.version:
        pytest.skip(f"the table is of {version[1]}, installed is {found.version}")
    rows = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| (\d+) \|", text, re.MULTILINE))
    counted: dict[str, int] = {}
    for item in found.entries:
        api = (templates.public_api(item.api) or item.api).removeprefix("flashinfer.")
        counted[api] = counted.get(api, 0) + 1
    assert {api: int(count) for api, count in rows.items()} == counted
