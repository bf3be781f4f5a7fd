"""How much of what a dataset holds: by op type, by model, by author."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from kernelkit.publish.export.views import Record, Tables

KINDS = ("definitions", "workloads", "solutions", "traces")
PASSED = "PASSED"


def statistics(tables: Tables) -> dict[str, Any]:
    """Totals; rows by op type, model and author, each sorted by name."""
    rows = tables.rows
    return {
        "totals": {**{kind: len(rows[kind]) for kind in KINDS}, "passed": _passed(rows["traces"])},
        "op_types": _by_op_type(rows),
        "models": _by_model(rows),
        "authors": _by_author(rows),
        "hardware": dict(sorted(Counter(row["hardware"] for row in rows["traces"]).items())),
    }


def _passed(traces: list[Record]) -> int:
    return sum(row["status"] == PASSED for row in traces)


def _by_op_type(rows: dict[str, list[Record]]) -> list[Record]:
    known = sorted({row["op_type"] or "" for kind in KINDS for row in rows[kind]})
    found = []
    for op_type in known:
        mine = {k: [r for r in rows[k] if (r["op_type"] or "") == op_type] for k in KINDS}
        covered = {row["definition"] for row in mine["workloads"]}
        found.append({
            "op_type": op_type or "(no definition)",
            **{kind: len(mine[kind]) for kind in KINDS},
            "passed": _passed(mine["traces"]),
            "definitions_with_workloads": len(covered & {r["name"] for r in mine["definitions"]}),
        })  # fmt: skip
    return found


def _by_model(rows: dict[str, list[Record]]) -> list[Record]:
    workloads = Counter(row["definition"] for row in rows["workloads"])
    solved = {row["definition"] for row in rows["traces"] if row["status"] == PASSED}
    models = sorted({model for row in rows["definitions"] for model in row["models"]})
    found = []
    for model in models:
        mine = [row for row in rows["definitions"] if model in row["models"]]
        found.append({
            "model": model,
            "definitions": len(mine),
            "op_types": sorted({row["op_type"] for row in mine}),
            "workloads": sum(workloads[row["name"]] for row in mine),
            "definitions_with_a_passing_solution": sum(row["name"] in solved for row in mine),
        })  # fmt: skip
    return found


def _by_author(rows: dict[str, list[Record]]) -> list[Record]:
    found = []
    for author in sorted({row["author"] for row in rows["solutions"]}):
        mine = [row for row in rows["solutions"] if row["author"] == author]
        traces = [row for row in rows["traces"] if row["author"] == author]
        found.append({
            "author": author,
            "solutions": len(mine),
            "languages": sorted({row["language"] for row in mine}),
            "traces": len(traces),
            "passed": _passed(traces),
        })  # fmt: skip
    return found


def as_text(counted: dict[str, Any]) -> str:
    """The statistics as a file."""
    return json.dumps(counted, indent=2, ensure_ascii=False) + "\n"
