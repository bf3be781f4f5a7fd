"""What is run and what must come of it: our corpus's expectations, or another corpus's manifest."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import faults, malformed, sources
from corpus.definitions import WORKLOADS

HERE = Path(__file__).resolve().parents[1]
WRONG = ("INCORRECT_NUMERICAL", "INCORRECT_SHAPE", "INCORRECT_DTYPE", "RUNTIME_ERROR")


@dataclass(frozen=True)
class Entry:
    """One solution of a corpus.

    must: pass, reject, no_credit, survive or policy. ends: statuses that are right (empty: all but
    COMPILE_ERROR: an entry that does not load shows nothing).
    """

    id: str
    group: str  # timing, correctness, environment, control
    definition: str
    must: str
    title: str = ""
    style: bool = False  # destination passing
    language: str = "python"
    ends: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    timing: str | None = None  # the workload on which credit is looked at
    control: str | None = None
    speedup: float = 1.5  # from here on, credit
    requires: tuple[str, ...] = ()
    forbidden: tuple[str, ...] | None = None  # marks; None: all of them
    quick: bool = False


@dataclass
class Corpus:
    """Entries, the canaries of each definition, malformed files."""

    entries: list[Entry]
    canaries: dict[str, tuple[str, str]]  # definition -> honest, known-bad
    malformed: list[str]
    folder: Path | None = None  # of a corpus that lies as a dataset; None: ours, made when needed
    details: dict[str, Any] = field(default_factory=dict)

    def runnable(self, device: str) -> list[Entry]:
        """The entries that this device and these packages can run."""
        lacking = set() if device.startswith("cuda") else {"cuda"}
        if importlib.util.find_spec("triton") is None:
            lacking.add("triton")
        return [e for e in self.entries if not lacking & {*e.requires, e.language}]

    def entry(self, name: str) -> Entry:
        """The entry of that id."""
        return next(entry for entry in self.entries if entry.id == name)


def own() -> Corpus:
    """This repository's corpus."""
    document = json.loads((HERE / "expectations.json").read_text())
    paths = sources.ids()
    entries = [_own_entry(item, document, paths[item["id"]]) for item in document["entries"]]
    canaries = {name: (pair[0], pair[1]) for name, pair in document["canaries"].items()}
    return Corpus(entries, canaries, [*malformed.names(), *faults.FAULTS])


def _own_entry(item: dict[str, Any], document: dict[str, Any], path: Path) -> Entry:
    definition, must = item["definition"], item["must"]
    large = next(name for name in WORKLOADS[definition] if name.endswith("-large"))
    workloads = item.get("workloads") or _workloads(definition, must, large)
    return Entry(
        id=item["id"], group=item["class"], definition=definition, must=must,
        title=sources.title(path), style=item.get("dps", False),
        language=item.get("language", "python"),
        ends=tuple(item.get("ends", WRONG if must == "reject" else ())),
        workloads=tuple(workloads), timing=item.get("timing", large),
        control=item.get("control") or document["canaries"][definition][0],
        speedup=item.get("speedup", 1.5), requires=tuple(item.get("requires", ())),
        forbidden=() if must == "policy" else None, quick=item.get("quick", False),
    )  # fmt: skip


def _workloads(definition: str, must: str, large: str) -> list[str]:
    """Those that the kind of entry needs: the large one, all small ones, or one of these."""
    small = [name for name in WORKLOADS[definition] if name != large] or [large]
    if must == "no_credit":
        return [large]
    return small if must == "pass" else small[-1:]


def of_folder(folder: Path) -> Corpus:
    """A corpus that lies as a dataset with a manifest.json beside it."""
    document = json.loads((folder / "manifest.json").read_text())
    items = [*document["entries"], *document["controls"]]
    entries = [_manifest_entry(item) for item in items]
    canaries = {name: (p["honest"], p["bad"]) for name, p in document["canaries"].items()}
    return Corpus(entries, canaries, [m["id"] for m in document["malformed"]], folder, document)


def _manifest_entry(item: dict[str, Any]) -> Entry:
    expect = item["expect"]
    ends = () if expect["kind"] == "pass" else tuple(expect["sound_status"])
    if expect["kind"] == "reject":
        ends = (*WRONG, "COMPILE_ERROR", "TIMEOUT")  # the manifest's list names the usual ones
    return Entry(
        id=item["id"], group=item["family"], definition=item["definition"], must=expect["kind"],
        title=item["title"], style=item["destination_passing_style"], language=item["language"],
        ends=ends, workloads=tuple(expect["reject_workloads"] or item["workloads"] or ()),
        timing=item.get("timing_workload"), control=expect["control"],
        speedup=expect["max_speedup_vs_control"] or 1.5, requires=tuple(item["requires"]),
        forbidden=tuple([*expect["forbidden_marks"], *expect["fooled_if_marks"]]),
    )  # fmt: skip
