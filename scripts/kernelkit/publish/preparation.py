"""One definition: its two branches, their review, the texts, and on request the publishing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernelkit.dataset import atomic
from kernelkit.dataset.store import Dataset
from kernelkit.errors import KernelkitError
from kernelkit.publish import bodies, checklist, coverage, evidence
from kernelkit.publish.belongings import Staged, neighbourhood, scope, stage
from kernelkit.publish.changes import Changes, changes_of
from kernelkit.publish.checklist import files_check
from kernelkit.publish.evidence import Evidence
from kernelkit.publish.outcome import Outcome, Side
from kernelkit.publish.publishing import Job, Publisher, commands
from kernelkit.publish.repository import Repository
from kernelkit.publish.request import Request
from kernelkit.publish.workspace import Branch, Source, Workspace, branch_of, worktree


@dataclass(frozen=True)
class Subject:
    """A definition with what it changes in the dataset."""

    request: Request
    outcome: Outcome
    staged: Staged
    changes: Changes

    @property
    def name(self) -> str:
        """Of the definition."""
        return self.staged.definition.name

    @property
    def branch(self) -> str:
        """The name of its branch, in both repositories."""
        return f"{self.request.args.branch_prefix}{self.name}"

    def earlier(self, side: str) -> dict[str, Any]:
        """What an earlier run recorded of a pull request."""
        kernel = self.request.kernel(self.name)
        held = kernel.phase4 if kernel and isinstance(kernel.phase4, dict) else {}
        return held.get(side) or {}


def prepare(request: Request, outcome: Outcome, publisher: Publisher) -> None:
    """Fill `outcome`. Raises KernelkitError; what was made until then is in it."""
    repository, name = request.repository, outcome.name
    staged = stage(request.dataset, name, _published_traces(request, name))
    subject = Subject(request, outcome, staged, changes_of(repository, staged, request.origin))
    outcome.left_out = list(staged.left_out)
    if request.args.dry_run:
        return _rehearse(subject)
    branch = branch_of(repository, subject.branch, [*scope(staged.definition), *staged.files])
    with worktree(repository, name, branch.start, neighbourhood(staged.definition)) as space:
        job = _dataset_branch(subject, space, branch)
        held = evidence.gather(Dataset(space.tree), staged.definition, request.dataset)
        _review(subject, held, space.tree)
        if job is not None:
            job = _dataset_job(subject, job, held)
            _publish_or_not(subject, publisher, job)
        if request.bench is not None:
            _coverage(subject, publisher, held, space.tree, request.bench)
    outcome.submitted = request.args.submit and not outcome.errors and _is_fit(subject)


def _published_traces(request: Request, name: str) -> bytes:
    definition = request.dataset.find_definition(name)
    path = f"traces/{definition.op_type}/{name}.jsonl"
    base = request.repository.base.sha
    held = request.repository.blobs(base, [path])
    return request.repository.content(base, path) if held else b""


def _rehearse(subject: Subject) -> None:
    """The review of the staged files, and what would be committed."""
    request, outcome = subject.request, subject.outcome
    held = evidence.gather(request.dataset, subject.staged.definition, request.dataset)
    _review(subject, held, request.dataset.root)
    repository = request.repository
    if subject.changes:
        outcome.dataset = Side(str(repository.root), subject.branch, repository.base.branch,
                               subject.changes.paths)  # fmt: skip
    if (bench := request.bench) is not None:
        path = request.args.coverage_document
        before = _document(bench, path)
        known = coverage.lists(before, subject.name) or request.args.config is None
        edited = coverage.edit(before, request.dataset, subject.name).content if known else b""
        if edited != before:
            outcome.coverage = Side(str(bench.root), subject.branch, bench.base.branch, [path])


def _review(subject: Subject, held: Evidence, root: Path) -> None:
    kernel = subject.request.kernel(subject.name)
    checks = checklist.review(Dataset(root), held, subject.staged.solutions, kernel)
    subject.outcome.checks = [*subject.outcome.checks, *checks]


def _dataset_branch(subject: Subject, space: Workspace, branch: Branch) -> Job | None:
    """The dataset's branch with its commit; None where the base has all of it."""
    repository, changes = subject.request.repository, subject.changes
    if not changes:
        return None
    files, removed = _with_undone(repository, branch, changes)
    known = _known(subject, "dataset")
    lfs = space.write(files, removed)
    message = f"{'Add' if _is_new(subject) else 'Update'} {subject.name}"
    sha = space.commit(message, branch, hooks=False)  # a hook sees pointers as unstaged changes
    side = Side(str(repository.root), branch.name, repository.base.branch, changes.paths, sha,
                **known)  # fmt: skip
    subject.outcome.dataset = side
    since = repository.merge_base(repository.base.sha, sha) or repository.base.sha
    changed = repository.changed(since, sha)
    subject.outcome.checks.append(files_check("dataset files", changed, changes.paths))
    empty = bodies.Texts("", "")
    tensors = [path for path in lfs if path in changes.files]
    others = sorted(set(repository.touched(since, sha)) - set(changes.paths))
    held = repository.blobs(repository.base.sha, others) if others else {}
    restored = [path for path in held if not path.startswith("blob/")]  # those are pointers here
    return Job(
        repository, space.tree, side, empty, Path(), tensors, sorted([*changes.files, *restored]),
        changes.removed, [path for path in others if path not in held],
        subject.request.args.hub_repo,
    )  # fmt: skip


def _known(subject: Subject, side: str) -> dict[str, Any]:
    """The pull request that an earlier run recorded."""
    held = subject.earlier(side)
    return {"pr_url": held.get("pr_url"), "pr_number": held.get("pr_number")}


def _with_undone(
    repository: Repository, branch: Branch, changes: Changes
) -> tuple[dict[str, Source], list[str]]:
    """What an earlier run committed and is staged no more goes back to what the base has."""
    base = repository.base.sha
    since = repository.merge_base(base, branch.start) or base
    stale = set(repository.changed(since, branch.start)) - set(changes.paths)
    held = repository.blobs(base, sorted(stale)) if stale else {}
    undone: dict[str, Source] = {path: repository.content(base, path) for path in held}
    return {**undone, **changes.files}, [*changes.removed, *sorted(stale - set(held))]


def _is_new(subject: Subject) -> bool:
    return any(path.startswith("definitions/") for path in subject.changes.added)


def _dataset_job(subject: Subject, job: Job, held: Evidence) -> Job:
    """With its texts, which are written where a person finds them."""
    manifest = subject.request.manifest
    model = (manifest.hf_repo_id or manifest.model_slug) if manifest else None
    texts = bodies.dataset_texts(
        held, subject.changes, subject.outcome.checks, is_new=_is_new(subject), model=model
    )
    return _with_texts(subject, job, texts, "dataset")


def _with_texts(subject: Subject, job: Job, texts: bodies.Texts, what: str) -> Job:
    folder = subject.request.texts / subject.name
    body = folder / f"{what}_pr.md"
    atomic.write_text(body, texts.body)
    subject.outcome.texts = str(folder)
    made = replace(job, texts=texts, body=body)
    atomic.write_text(folder / f"publish_{what}.sh", bodies.script(commands(made)))
    return made


def _is_fit(subject: Subject) -> bool:
    return checklist.ready(
        subject.outcome.checks, allow_absent=subject.request.args.allow_incomplete
    )


def _publish_or_not(subject: Subject, publisher: Publisher, job: Job) -> None:
    """Publish where that was asked for and the review allows it."""
    if subject.request.args.submit and _is_fit(subject):
        try:
            publisher.publish(job)
        except KernelkitError as error:
            subject.outcome.errors.append(error)


def _document(bench: Repository, path: str) -> bytes:
    """The coverage document of the base. Raises KernelkitError where it has none, or another."""
    if not bench.blobs(bench.base.sha, [path]):
        raise KernelkitError(
            "the bench repository has no coverage document", received=path,
            next_step="name it with --coverage-document",
        )  # fmt: skip
    content = bench.content(bench.base.sha, path)
    coverage.require(content, f"{bench.base.branch}:{path} in {bench.root}")
    return content


def _coverage(
    subject: Subject, publisher: Publisher, held: Evidence, tree: Path, bench: Repository
) -> None:
    """The other branch: the coverage document and nothing else."""
    path = subject.request.args.coverage_document
    before = _document(bench, path)
    branch = branch_of(bench, subject.branch, [path])
    with worktree(bench, subject.name, branch.start) as space:
        content, models = _edited(subject, space.tree / path, before, Dataset(tree))
        if content == before:
            return
        space.write({path: content})
        sha = space.commit(f"Model coverage: {subject.name}", branch, hooks=True)
        known = _known(subject, "coverage")
        side = Side(str(bench.root), branch.name, bench.base.branch, [path], sha, **known)
        subject.outcome.coverage = side
        since = bench.merge_base(bench.base.sha, sha) or bench.base.sha
        check = files_check("coverage file", bench.changed(since, sha), [path])
        subject.outcome.checks.append(check)
        _coverage_request(subject, publisher, held, models, space)


def _edited(
    subject: Subject, file: Path, before: bytes, dataset: Dataset
) -> tuple[bytes, Sequence[str]]:
    """The document's new content, and the models whose tables list the definition."""
    config = subject.request.args.config
    if not coverage.lists(before, subject.name) and config is not None:
        file.write_bytes(before)
        coverage.add_model(file, dataset, config, subject.request.manifest)
        before = file.read_bytes()
    edited = coverage.edit(before, dataset, subject.name)
    return edited.content, edited.models


def _coverage_request(
    subject: Subject, publisher: Publisher, held: Evidence, models: Sequence[str], space: Workspace
) -> None:
    """Its texts, with the link to the dataset's pull request; published after that one."""
    outcome, request = subject.outcome, subject.request
    side = outcome.coverage
    assert side is not None
    link = (outcome.dataset and outcome.dataset.pr_url) or subject.earlier("dataset").get("pr_url")
    texts = bodies.coverage_texts(held, models, outcome.checks, link)
    job = Job(space.repository, space.tree, side, texts, Path(), pr_repo=request.args.pr_repo)
    job = _with_texts(subject, job, texts, "coverage")
    if outcome.errors and request.args.submit:
        side.note = "waits for the dataset's pull request"
    else:
        _publish_or_not(subject, publisher, job)
