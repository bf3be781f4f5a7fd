"""A corpus run in few calls of the evaluator; what goes wrong is tried again by itself.

Entries share a call, those of one definition only where their workloads are the same. If the call
itself has a fault (the evaluator crashed, a process is left, a mark was made) its entries are run
again in halves, until the one at fault is found. An entry whose own result is wrong may have
suffered from a busy machine: it is wrong if calls with nothing else in them find the same.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corpus import faults
from running import trial
from running.entries import Corpus, Entry
from running.grounds import Grounds
from running.judging import Finding, judge
from running.trial import Options, Ran

START_SECONDS = 60.0  # of the evaluator, on a busy machine
ENTRY_SECONDS = 25.0  # of an entry with its controls, beside its own limits
AGAIN = 2
Say = Callable[[str], None]


def campaign(
    corpus: Corpus, entries: Sequence[Entry], options: Options, say: Say, *, keep: Path | None
) -> Iterator[Finding]:
    """Findings of all entries, as they come."""
    for group in groups(entries, options.together):
        yield from _group(corpus, group, options, say, keep)


def _group(
    corpus: Corpus, group: list[Entry], options: Options, say: Say, keep: Path | None
) -> Iterator[Finding]:
    """Findings of entries in one call. Where the call itself has a fault, of halves of them."""
    ran, findings = _attempt(corpus, group, options, keep)
    if len(group) > 1 and ran.faults:
        say(f"{group[0].id} and {len(group) - 1} more, in halves: {'; '.join(ran.faults)[:300]}")
        half = len(group) // 2
        for part in (group[:half], group[half:]):
            yield from _group(corpus, part, options, say, keep)
        return
    for entry, finding in zip(group, findings, strict=True):
        finding.faults += ran.faults
        yield finding if finding.right else _again(corpus, entry, finding, options, say, keep)


def _again(
    corpus: Corpus, entry: Entry, finding: Finding, options: Options, say: Say, keep: Path | None
) -> Finding:
    """The finding after calls with nothing else in them: a busy machine alone is no fault."""
    for _ in range(AGAIN):
        say(f"{entry.id}: again, by itself: {'; '.join(finding.faults)[:300]}")
        ran, (finding,) = _attempt(corpus, [entry], options, keep)
        finding.faults += ran.faults
        if finding.right:
            break
    return finding


def groups(entries: Sequence[Entry], most: int) -> Iterator[list[Entry]]:
    """Entries that share a call, at most so many. What is only reported goes by itself."""
    calls: list[dict[str, tuple[str, ...]]] = []  # definition -> workloads
    members: list[list[Entry]] = []
    for entry in entries:
        if entry.must == "policy":
            yield [entry]
            continue
        for call, group in zip(calls, members, strict=True):
            same = call.get(entry.definition, entry.workloads) == entry.workloads
            if same and len(group) < most and bool(entry.workloads) == bool(group[0].workloads):
                break
        else:
            call, group = {}, []
            calls.append(call)
            members.append(group)
        call[entry.definition] = entry.workloads
        group.append(entry)
    yield from members


def _attempt(
    corpus: Corpus, group: Sequence[Entry], options: Options, keep: Path | None
) -> tuple[Ran, list[Finding]]:
    with _Grounds(options, keep) as grounds:
        trial.prepare(corpus, group, grounds, options)
        limits = 2 * options.timeout + ENTRY_SECONDS
        workloads = list(dict.fromkeys(uuid for entry in group for uuid in entry.workloads))
        ran = trial.run(
            grounds, options, workloads=workloads,
            seconds=START_SECONDS + len(group) * max(1, len(group[0].workloads)) * limits,
        )  # fmt: skip
        ran.faults += [
            f"mark {name}"
            for name in sorted(grounds.found_marks())
            if any(entry.forbidden is None or name in entry.forbidden for entry in group)
        ]
        after = trial.followed(group, options.every)
        return ran, [judge(entry, ran, after[entry.id]) for entry in group]


def malformed(
    corpus: Corpus, names: Sequence[str], options: Options, say: Say, *, keep: Path | None
) -> Iterator[Finding]:
    """Findings of malformed files: all in one call, then those one by one that might be why."""
    one_each = [name for name in names if name.startswith("fault_reference")]
    if one_each and len(names) > 1:  # these are of one name
        names = [name for name in names if name not in one_each]
        for name in one_each:
            yield from malformed(corpus, [name], options, say, keep=keep)
    for _ in range(1 if len(names) > 1 else 1 + AGAIN):
        finding = _with_files(corpus, names, options, keep)
        if finding.right:
            break
    if finding.right or len(names) == 1:
        yield from (Finding(name, "refuse", finding.faults, finding.seen) for name in names)
        return
    say(f"malformed files, one by one: {'; '.join(finding.faults)[:300]}")
    half = len(names) // 2
    for part in (names[:half], names[half:]):
        yield from malformed(corpus, part, options, say, keep=keep)


def _with_files(
    corpus: Corpus, names: Sequence[str], options: Options, keep: Path | None
) -> Finding:
    """One call with these files beside an honest solution: it passes, nothing of theirs does."""
    definition = sorted(corpus.canaries, key=lambda name: "rmsnorm" not in name)[0]
    honest = corpus.entry(corpus.canaries[definition][0])
    uuid = sorted({*honest.workloads} or {"rms-odd"})[-1]
    honest = dataclasses.replace(honest, workloads=(uuid,))
    with _Grounds(options, keep) as grounds:
        trial.prepare(corpus, [honest], grounds, options)
        trial.add_malformed(corpus, names, grounds)
        seconds = START_SECONDS + len(names) * 5 + 4 * options.timeout
        ran = trial.run(grounds, options, workloads=[uuid, faults.UUID], seconds=seconds)
        finding = judge(honest, ran, honest.id)
        finding.faults += [*ran.faults, *(f"mark {name}" for name in grounds.found_marks())]
        ours = {honest.id, honest.id + trial.AFTER, honest.id + trial.BAD,
                f"{honest.id}__control", f"{trial.BEFORE}_{definition}"}  # fmt: skip
        passed = [
            name
            for name in ran.traces
            if name not in ours and any(e["status"] == "PASSED" for e in ran.traces[name].values())
        ]
        finding.faults += [f"{name} PASSED" for name in passed]
        return finding


class _Grounds:
    """Folders of one call, removed after it. Not below a folder that only its owner may enter."""

    def __init__(self, options: Options, keep: Path | None) -> None:
        self.options, self.keep = options, keep

    def __enter__(self) -> Grounds:
        self.folder = Path(tempfile.mkdtemp(prefix="corpus-", dir=self.keep))
        self.folder.chmod(0o755)
        options = self.options
        self.grounds = Grounds(
            self.folder / "run",
            hang_s=options.hang_s,
            memory_mb=options.memory_mb,
            on_cuda=options.device.startswith("cuda"),
        )
        return self.grounds

    def __exit__(self, *_: object) -> None:
        self.grounds.servers.stop()
        if self.keep is None:
            # Not shutil.rmtree: entries leave folders deeper than Python's recursion goes.
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, "--", str(self.folder)], stderr=subprocess.DEVNULL)
