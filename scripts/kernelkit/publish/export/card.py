"""The dataset card: README.md, whose head the hub and `datasets` read.

`configs` names the files of each view, `dataset_info` its columns with their types: without them a
column that is empty in the first rows would get no type from JSON lines. `datasets` reads one
format in a folder, so a card names files of one; a view without rows it cannot read at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kernelkit.publish.export.counting import KINDS
from kernelkit.publish.export.views import FILES, TEXTS, VIEWS, View

MARK = "<!-- written by export_dataset.py -->"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Facts:
    """What a card says beside the statistics. `repo_id`: what load_dataset is given."""

    title: str
    repo_id: str
    license_id: str | None = None


def card(counted: dict[str, Any], paths: dict[str, str], facts: Facts) -> str:
    """The whole README; `paths`: where each view that has rows stands, from the card."""
    parts = [
        _head(counted, paths, facts),
        MARK,
        f"# {facts.title}",
        "Kernel definitions of large language models, recorded workloads, kernels for them, and "
        "what was measured, in the FlashInfer-Bench format. The tables below are made from the "
        "dataset's own files (`definitions/`, `workloads/`, `solutions/`, `traces/`), which stay "
        "the source; recorded tensors (`blob/`) are named by the workloads and not in the tables.",
        _views(paths),
        f"```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("{facts.repo_id}", "{next(iter(paths))}", split="train")\n```',
        "Columns that hold JSON text: `axes`, `inputs`, `outputs`, `libs`. Numbers that are not "
        "finite are absent.",
        "## By op type",
        _table(counted["op_types"], ("op_type", "definitions", "definitions_with_workloads",
                                     "workloads", "solutions", "traces", "passed")),
        "## By model",
        _table(counted["models"], ("model", "definitions", "op_types", "workloads",
                                   "definitions_with_a_passing_solution")),
        "## By author",
        _table(counted["authors"], ("author", "solutions", "languages", "traces", "passed")),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _shown(paths: dict[str, str]) -> list[View]:
    return [view for view in VIEWS if view.name in paths]


def _head(counted: dict[str, Any], paths: dict[str, str], facts: Facts) -> str:
    total = sum(counted["totals"][kind] for kind in KINDS)
    size = next((name for limit, name in _SIZES if total < limit), "n>1M")
    lines = ["---", f"pretty_name: {_quoted(facts.title)}"]
    lines += [f"license: {facts.license_id}"] if facts.license_id else []
    lines += ["tags:", *(f"- {tag}" for tag in ("gpu-kernels", "flashinfer-bench", "benchmark"))]
    lines += ["size_categories:", f"- {size}", "configs:"]
    for place, view in enumerate(_shown(paths)):
        lines += [f"- config_name: {view.name}", *(["  default: true"] if place == 0 else [])]
        lines += ["  data_files:", "  - split: train", f"    path: {paths[view.name]}"]
    lines.append("dataset_info:")
    for view in _shown(paths):
        lines += [f"- config_name: {view.name}", "  features:", *_features(view)]
    return "\n".join([*lines, "---"])


def _features(view: View) -> Iterable[str]:
    for name, kind in view.columns.items():
        yield f"  - name: {name}"
        if kind == TEXTS:
            yield "    sequence: string"
        elif kind == FILES:
            yield "    list:"
            for part in ("path", "content"):
                yield from (f"    - name: {part}", "      dtype: string")
        else:
            yield f"    dtype: {kind}"


def _views(paths: dict[str, str]) -> str:
    rows = [{"config": view.name, "file": f"`{paths[view.name]}`", "a row is": view.what}
            for view in _shown(paths)]  # fmt: skip
    return _table(rows, ("config", "file", "a row is"))


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return "None yet."
    lines = [[column.replace("_", " ") for column in columns], ["---"] * len(columns)]
    lines += [[_cell(row[column]) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
