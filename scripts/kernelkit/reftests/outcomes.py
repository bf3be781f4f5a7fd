"""What a run says of a definition, where it is recorded, and what it does to the status tag.

`status:verified` means: the unedited test passed, and a ground truth that is no repetition of ours
was among what passed: a library's kernel, or PyTorch where the op has no such kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import FormatError

if TYPE_CHECKING:  # these bring pytest, which a reader of records does not need
    from kernelkit.reftests.plan import Truth
    from kernelkit.reftests.running import FileRun, Row

FILE = ("tests", "references", "outcomes.json")
SCHEMA_VERSION = 1
AGREEMENT = "test_agrees_with_ground_truth"
CHANGING = ("time", "duration_s")  # say nothing of whether an outcome is another one

Record = dict[str, Any]


def record_of(
    definition: Definition, truths: Iterable[Truth], run: FileRun, *, untouched: bool
) -> Record:
    """The record of one run, as plain JSON types."""
    agreement = {truth.name: _truth_record(truth, run.rows) for truth in truths}
    counts = Counter(row["outcome"] for row in run.rows)
    status = "failed" if run.failed else "passed" if counts["passed"] else "skipped"
    found: Record = {
        "status": status,
        "verified": status == "passed" and untouched and _is_proven(truths, agreement),
        "definition": digest(definition),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "duration_s": round(sum(row.get("duration_s", 0.0) for row in run.rows), 1),
        "machine": run.machine,
        "tests": {name: counts[name] for name in ("passed", "failed", "skipped")},
        "ground_truth": agreement,
        "failures": [_failure(row) for row in run.rows if row["outcome"] == "failed"],
    }
    if not untouched:
        found["note"] = "the test file was edited or written by hand: the status tag stays"
    if run.trouble:
        found["trouble"] = run.trouble
    return found


def _truth_record(truth: Truth, rows: Iterable[Row]) -> Record:
    """By size: passed with its metrics, failed, or why it was skipped."""
    sizes: Record = {}
    for row in rows:
        if row["test"].startswith(AGREEMENT) and row["parameters"].get("truth") == truth.name:
            said = row["properties"] if row["outcome"] == "passed" else row["text"]
            sizes[row["parameters"]["size"]] = {"outcome": row["outcome"]}
            if row["outcome"] != "failed":
                key = "metrics" if row["outcome"] == "passed" else "reason"
                sizes[row["parameters"]["size"]][key] = said
    return sizes


def _is_proven(truths: Iterable[Truth], agreement: Mapping[str, Record]) -> bool:
    """Whether one of the strongest ground truths passed in some size."""
    kernels = [truth for truth in truths if truth.is_kernel]
    return any(
        size["outcome"] == "passed"
        for truth in kernels or truths
        for size in agreement[truth.name].values()
    )


def _failure(row: Row) -> Record:
    return {"test": row["test"], "text": row["text"]}


def digest(definition: Definition) -> str:
    """Of the interface and the reference: what a run has tested."""
    text = json.dumps(definition.signature(), default=str) + definition.reference
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save(dataset: Dataset, records: Mapping[str, Record]) -> None:
    """Merges the records into the file, under a lock on its folder. One that says the same as
    before keeps its time; one that proves less about the same definition does not replace a proof.

    Raises FormatError where the file there is not one of ours.
    """
    path = dataset.root.joinpath(*FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with atomic.locked(folder):
            held = load(path)
            held |= {n: r for n, r in records.items() if _says_more(r, held.get(n, {}))}
            document = {"schema_version": SCHEMA_VERSION, "outcomes": dict(sorted(held.items()))}
            atomic.write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    finally:
        os.close(folder)


def _says_more(record: Record, held: Record) -> bool:
    if held.get("verified") and not record["verified"] and record["status"] != "failed":
        return held["definition"] != record["definition"]
    return _lasting(held) != _lasting(record)


def load(path: Path) -> dict[str, Record]:
    """The recorded outcomes by definition; none where there is no file. Raises FormatError."""
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {document['schema_version']}")
        return dict(document["outcomes"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: not a file of recorded outcomes",
            received=error,
            next_step="move it away, and run the tests again",
        ) from error


def _lasting(record: Mapping[str, Any]) -> Record:
    return {key: value for key, value in record.items() if key not in CHANGING}


def tagged(definition: Definition, record: Record, held: Record) -> Definition:
    """The definition with the status that the record gives it; the same where it gives none.

    `held` is what was recorded before: a proof of another reference is none of this one.
    """
    stale = held.get("verified", False) and held["definition"] != record["definition"]
    if not record["verified"] and record["status"] != "failed" and not stale:
        return definition
    others = [tag for tag in definition.tags if not tag.startswith("status:")]
    status = "status:verified" if record["verified"] else "status:unverified"
    if status in definition.tags:
        return definition
    return definition.model_copy(update={"tags": [status, *others]})
