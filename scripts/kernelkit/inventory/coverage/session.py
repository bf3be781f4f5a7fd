"""What update_coverage does: the models asked for, checked or written, and the result."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from kernelkit import cli
from kernelkit.dataset import atomic
from kernelkit.dataset.store import Dataset
from kernelkit.errors import (
    KernelkitError,
    NothingSelectedError,
    UsageError,
)
from kernelkit.inventory.coverage import checks, writing
from kernelkit.inventory.coverage.against_config import check_config
from kernelkit.inventory.coverage.checks import Finding
from kernelkit.inventory.coverage.expected import Derivable, Holdings, Row, page_sizes_in, rows_of
from kernelkit.inventory.coverage.lines import SUMMARY, Document, read_document, titles_of
from kernelkit.inventory.coverage.reading import blocks_of
from kernelkit.inventory.coverage.result import Result
from kernelkit.inventory.coverage.texts import NEW_DOCUMENT
from kernelkit.inventory.coverage.titles import Titles, title
from kernelkit.inventory.coverage.writing import Subject
from kernelkit.inventory.inventory import Sources, take
from kernelkit.inventory.locks import rewriting
from kernelkit.models.cookbook import chosen_sizes
from kernelkit.models.load import Model, load_model
from kernelkit.models.parallelism import Parallelism, parallel_grid
from kernelkit.ops.derivation import Request


def check(args: argparse.Namespace) -> Result:
    """Everything that files decide for all models, and configs for the models asked for."""
    document = read_document(args.document)
    holdings = Holdings(Dataset.open(args.dataset))
    findings = list(checks.check_files(document, holdings))
    subjects = list(_subjects(args, document, holdings))
    for subject in subjects:
        findings += _against_config(document, subject)
    found = sorted(set(findings), key=lambda f: (f.line == 0, f.line, f.message))
    models = tuple(subject.title for subject in subjects)
    return Result(models, tuple(found), document.text, document.text, None, True)


def write(args: argparse.Namespace) -> Result:
    """Mend the lines of the models asked for; the document is replaced whole, under a lock."""
    with nullcontext() if args.dry_run else rewriting(args.document):
        document = _open(args)
        before = "" if not args.document.exists() else document.text
        holdings = Holdings(Dataset.open(args.dataset))
        models, findings = _mend(args, document, holdings)
        written = None
        if document.text != before and not args.dry_run:
            data = document.text.encode("utf-8", "surrogateescape")
            atomic.write_bytes(args.document, data)
            written = args.document
    return Result(tuple(models), tuple(findings), before, document.text, written, False)


def _mend(
    args: argparse.Namespace, document: Document, holdings: Holdings
) -> tuple[list[str], list[Finding]]:
    if args.refresh_status and not _configs(args):
        models = [section.title for section in document.sections() if section.title != SUMMARY]
        for name in models:
            writing.refresh(document, name, holdings)
        return models, list(checks.check_files(document, holdings))
    findings: list[Finding] = []
    subjects = list(_subjects(args, document, holdings))
    for subject in subjects:
        writing.write_model(document, subject, holdings, prune=args.prune)
    for subject in subjects:
        section = document.section(subject.title)
        if section is not None:
            findings += checks.check_section_files(document, section, holdings)
        findings += _against_config(document, subject)
    return [subject.title for subject in subjects], findings


def _against_config(document: Document, subject: Subject) -> list[Finding]:
    section = document.section(subject.title)
    if section is None:
        return [Finding(0, "absent", subject.title, "the model has no section in the document")]
    return list(check_config(document, section, subject.rows, subject.derivable))


def _open(args: argparse.Namespace) -> Document:
    if args.create and not args.document.exists():
        return Document.of(NEW_DOCUMENT)
    return read_document(args.document)


def _subjects(
    args: argparse.Namespace, document: Document, holdings: Holdings
) -> Iterator[Subject]:
    """The headings asked for, each with its models. Of a folder, a config that cannot be read is
    named and left out, and so is one that the document does not track."""
    titles = Titles(tuple(titles_of(document)))
    chosen: dict[str, list[Model]] = {}
    for config in _configs(args):
        try:
            model = load_model(args.model_name, args.hf_repo_id, config, args.revision)
        except KernelkitError as error:
            if args.configs is None:
                raise
            cli.say(f"warning: {config} left out: {error}")
            continue
        name = model.repo_id or _repository_of(config) or model.slug
        found = args.section or _section_title(document, titles.find(name))
        if found is not None or args.configs is None:
            chosen.setdefault(found or title(name), []).append(model)
    for heading, models in chosen.items():
        yield _subject(args, document, holdings, models, heading)


def _configs(args: argparse.Namespace) -> Sequence[Path | None]:
    if (args.configs or args.refresh_status) and (args.section or args.model_name):
        raise UsageError(
            "--section and --model-name are for one model",
            received="--configs" if args.configs else "--refresh-status",
        )
    if args.refresh_status:
        return []
    if args.configs is None:
        chosen = args.config or args.hf_repo_id or args.model_name
        if chosen is None and not args.check:
            raise UsageError(
                "no model given",
                allowed="--config, --configs, --hf-repo-id, --model-name or --refresh-status",
            )
        return [args.config] if chosen else []
    files = sorted(args.configs.glob("*__*.json"))
    if not files:
        raise NothingSelectedError("no ORG__NAME.json in this folder", received=args.configs)
    return files


def _repository_of(config: Path | None) -> str | None:
    """`ORG__NAME.json` names its repository; another file does not."""
    stem = config.stem if config is not None else ""
    return stem.replace("__", "/", 1) if "__" in stem else None


def _section_title(document: Document, found: str | None) -> str | None:
    """The section that a name of the document (a heading or a summary row) leads to."""
    if found is None or document.section(found) is not None:
        return found
    sections = tuple(s.title for s in document.sections() if s.title != SUMMARY)
    return Titles(sections).find(found) or found


def _subject(
    args: argparse.Namespace,
    document: Document,
    holdings: Holdings,
    models: Sequence[Model],
    heading: str,
) -> Subject:
    section = document.section(heading)
    entries = [e for b in blocks_of(document, section) for e in b.entries] if section else []
    rows: dict[str, Row] = {}
    for model in models:
        sizes = _sizes(args, model, [entry.label for entry in entries])
        request = Request(tags=(f"model:{model.slug}",), parallel=sizes)
        inventory = take(model, request, Sources(holdings.dataset))
        for row in rows_of(inventory, holdings):
            rows.setdefault(row.name or row.op_type, row)
    pages = page_sizes_in(entry.name for entry in entries if entry.name)
    derivable = Derivable(tuple(model.spec for model in models), pages)
    return Subject(heading, tuple(rows.values()), derivable, _served(sizes))


def _served(sizes: Sequence[Parallelism]) -> str:
    """`TP=2 or TP=4`; empty for one rank."""
    texts = (f"TP={p.tp}" + (f", EP={p.ep}" if p.ep > 1 else "") for p in sizes)
    return " or ".join(dict.fromkeys(texts)) if set(sizes) != {Parallelism()} else ""


def _sizes(
    args: argparse.Namespace, model: Model, labels: Sequence[dict[str, set[str]]]
) -> tuple[Parallelism, ...]:
    """The options' sizes, else the cookbook's, else those that the section names, else 1."""
    sizes = chosen_sizes(args.tp_list, args.ep_list, args.cookbook, model.repo_id)
    if args.tp_list or args.ep_list or sizes != (Parallelism(),):
        return sizes
    return _named_sizes(labels) or sizes


def _named_sizes(labels: Sequence[dict[str, set[str]]]) -> tuple[Parallelism, ...]:
    """The sizes that a section's op type cells name."""
    tp = sorted({int(n) for label in labels for n in label.get("tp", ())})
    ep = sorted({int(n) for label in labels for n in label.get("ep", ())})
    return parallel_grid(tp or [1], ep or [1]) if tp or ep else ()
