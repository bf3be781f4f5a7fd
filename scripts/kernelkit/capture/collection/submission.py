"""The dataset's commit and the text of its pull request. Nothing leaves the machine unasked."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from kernelkit.errors import KernelkitError, UsageError


@dataclass(frozen=True)
class Submission:
    """A branch, what goes into its commit, and the pull request's text."""

    dataset: Path
    branch: str
    files: list[str]
    title: str
    body: str

    def commands(self) -> list[list[str]]:
        """The git commands, in order."""
        git = ["git", "-C", str(self.dataset)]
        return [
            [*git, "switch", "-c", self.branch],
            [*git, "add", "--", *self.files],
            [*git, "commit", "-m", self.title],
            [*git, "push", "-u", "origin", self.branch],
        ]

    def shell(self) -> str:
        """The same as text."""
        return "\n".join(shlex.join(command) for command in self.commands())


def prepare(
    dataset: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> Submission:
    """From the report of sanitising: `rows` have name, op_type, added, ranges."""
    op_types = sorted({str(row["op_type"]) for row in rows})
    kind = op_types[0] if len(op_types) == 1 else "mixed"
    added = sum(int(row["added"]) for row in rows)
    model = about.get("model") or "recordings"
    title = f"Add {added} workloads for {', '.join(op_types)} from {model}"
    files = [f"workloads/{row['op_type']}/{row['name']}.jsonl" for row in rows]
    blobs = [f"blob/workloads/{row['op_type']}/{row['name']}" for row in rows]
    files += [blob for blob in blobs if (dataset / blob).is_dir()]
    branch = f"workloads-{date.today():%Y%m%d}-{kind}-{model}"
    return Submission(dataset, branch, files, title, _body(rows, about, added))


def _body(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], added: int) -> str:
    lines = ["## What this adds", "", f"{added} workloads, recorded from SGLang.", ""]
    lines += [f"- {name}: {value}" for name, value in about.items() if value is not None]
    lines += ["", "| Definition | New workloads | Ranges |", "| --- | --- | --- |"]
    for row in rows:
        ranges = ", ".join(f"{k} {a} to {b}" for k, (a, b) in dict(row["ranges"]).items())
        lines.append(f"| `{row['name']}` | {row['added']} | {ranges} |")
    return "\n".join(lines) + "\n"


def uncommitted(dataset: Path, file: str, added: int) -> int:
    """How many lines of a dataset's file its last commit lacks; `added` outside a repository.

    So a run that is done once more with --submit hands in what the first one has written.
    """
    if not is_repository(dataset):
        return added
    held = set(_git(dataset, "show", f"HEAD:./{file}").stdout.splitlines())
    lines = (dataset / file).read_text(encoding="utf-8").splitlines()
    return sum(line not in held for line in lines)


def is_repository(dataset: Path) -> bool:
    """Whether the dataset lies in a git repository."""
    return _git(dataset, "rev-parse", "--is-inside-work-tree").returncode == 0


def _git(dataset: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(dataset), *words], capture_output=True, text=True)


def hand_in(submission: Submission, *, asked: bool, is_good: bool) -> str:
    """Submit where that was asked for and nothing has failed; returns what a person is told.

    Raises what `submit` raises.
    """
    if asked and is_good:
        submit(submission)
        return f"pushed {submission.branch}; text of the pull request:\n{submission.body}"
    return "not submitted: something failed above" if asked else _offered(submission)


def _offered(submission: Submission) -> str:
    if is_repository(submission.dataset):
        return f"to submit (or run again with --submit):\n{submission.shell()}"
    clone = "python scripts/clone_repos.py --repos flashinfer-trace"
    return f"not to be submitted: the dataset is not a git repository; one comes with: {clone}"


def submit(submission: Submission) -> None:
    """Make the branch and the commit, and push it. Raises UsageError outside a git repository,
    KernelkitError where a command fails (those after it are not run)."""
    if not is_repository(submission.dataset):
        raise UsageError(
            "the dataset is not a git repository", received=submission.dataset,
            next_step="python scripts/clone_repos.py --repos flashinfer-trace",
        )  # fmt: skip
    for command in submission.commands():
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise KernelkitError(
                f"failed: {shlex.join(command)}", received=done.stderr.strip()[-300:],
                next_step="the commands after it were not run; repair it and run them by hand",
            )  # fmt: skip


def document(submission: Submission) -> dict[str, str]:
    """As JSON types."""
    return {
        "branch": submission.branch,
        "title": submission.title,
        "body": submission.body,
        "commands": submission.shell(),
    }
