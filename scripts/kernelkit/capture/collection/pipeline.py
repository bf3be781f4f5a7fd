"""The pipeline's phases over one run's folder: record, sanitise, evaluate, submit."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kernelkit.capture import host as hosts
from kernelkit.capture.collection import arguments, choosing, collecting, evaluation, phases
from kernelkit.capture.collection import submission as submissions
from kernelkit.capture.collection.budget import GIB, DiskBudget, estimate_bytes
from kernelkit.capture.collection.choosing import Choice
from kernelkit.capture.collection.phases import Phases
from kernelkit.capture.collection.server import given_sizes
from kernelkit.capture.sanitize import outcome as outcomes
from kernelkit.capture.sanitize.outcome import Outcome
from kernelkit.capture.sanitize.pipeline import Settings, chosen_definitions, sanitize
from kernelkit.capture.sglang_pass.arguments import DEFAULT_VERSION
from kernelkit.capture.sglang_pass.planning import as_text, passes_document
from kernelkit.capture.sglang_pass.running import Capture, read_json, variables, write_json
from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import NothingSelectedError
from kernelkit.models.cookbook import serving_sizes
from kernelkit.models.load import Model, checkpoint_config, load_model
from kernelkit.models.parallelism import Parallelism

Say = Callable[[str], None]


@dataclass
class Run:
    """What was asked, resolved."""

    args: argparse.Namespace
    dataset: Dataset
    source: str
    wanted: list[Definition]
    say: Say


@dataclass
class Recording:
    """The record phase, prepared: nothing is started yet."""

    model: Model
    host: hosts.Host
    versions: dict[str, str | None]
    choice: Choice
    capture: Capture
    traffic: collecting.Traffic
    about: dict[str, Any]
    phases: Phases


def resolve(args: argparse.Namespace, say: Say) -> Run:
    """The dataset and the definitions. Raises what `chosen_definitions` raises."""
    folder, source = arguments.datasets(args)
    dataset = Dataset.open(folder)
    wanted = chosen_definitions(dataset, args.definitions, args.op_type)
    return Run(args, dataset, source, wanted, say)


def prepare(run: Run) -> Recording:
    """Model, passes and folders of the record phase."""
    args = run.args
    served = [d for d in run.wanted if any(tag.startswith("fi_api:") for tag in d.tags)]
    if not served:
        raise NothingSelectedError(
            "no FlashInfer API serves these definitions", received=[d.name for d in run.wanted][:5],
            allowed="definitions with an fi_api: tag",
            next_step="GEMMs get theirs with the norms: --all, or --op-type gemm,rmsnorm",
        )  # fmt: skip
    name, config = args.model_name, args.config or checkpoint_config(args.model_path)
    if not (name or args.hf_repo_id or config):
        name = choosing.model_name(served)
        run.say(f"model: {name} (from the definitions; --model-name for another)")
    model = load_model(name, args.hf_repo_id, config)
    host = hosts.find_host(args.env, args.sglang_path)
    versions = hosts.probe(host)
    version = versions.get("sglang") or DEFAULT_VERSION
    options = choosing.as_options(
        weights=args.model_path,
        emulate=not (args.real_parallelism or args.model_path or args.launch_command),
        layers=args.layers, page_size=args.page_size, quantization=args.quantization,
        extra=arguments.extra(args), version=version if version[0].isdigit() else DEFAULT_VERSION,
    )  # fmt: skip
    sizes = None
    if args.tp or args.ep:
        sizes = [Parallelism(args.tp or 1, args.ep or 1)]
    elif args.launch_command:
        sizes = [Parallelism(*given_sizes(args.launch_command))]
    preferred = serving_sizes(None, model.repo_id) if sizes is None else []
    choice = choosing.choose(model, served, options, sizes, args.traffic, preferred)
    choosing.note_uncalled(choice, run.wanted)
    about = {"model": model.slug, "model_path": args.model_path, "emulated": options.emulate}
    capture = _capture(args, model, choice)
    state = Phases.open(capture.work, _fingerprint(args), resume=args.resume)
    return Recording(model, host, versions, choice, capture, arguments.traffic(args, run.source),
                     about, state)  # fmt: skip


def _capture(args: argparse.Namespace, model: Model, choice: Choice) -> Capture:
    work = (args.output or Path("out") / "collect" / model.slug).resolve()
    is_recorder = args.method == "recorder"
    return Capture(
        work=work,
        record=work / "record" if is_recorder else None,
        level10=None if is_recorder else work / "level10",
        apis=choice.apis,
        patterns=choosing.level10_patterns(choice.apis),
        contents_per_form=args.dump_count,
    )


def document(run: Run, recording: Recording) -> dict[str, Any]:
    """What would be run, with whole commands and environments."""
    pairs = collecting.planned(
        run.args.launch_command, recording.choice.servings, recording.traffic,
        recording.capture.work, recording.host,
    )  # fmt: skip
    plans = [plan for plan, _ in pairs]
    shown = passes_document(plans)
    base = {**os.environ, **recording.host.env}
    for item, (plan, command) in zip(shown, pairs, strict=True):
        item["command"] = command
        item["env"] = {**recording.host.env, **variables(plan, recording.capture, base)}
    sizes, steps = recording.traffic.batch_sizes, recording.traffic.decode_tokens
    layers = max((p.config or {}).get("num_hidden_layers", 32) for p in plans)
    estimate = estimate_bytes(
        steps * recording.traffic.num_batches * len(sizes), max(sizes),
        recording.traffic.lengths.isl, int(layers),
    )  # fmt: skip
    return {
        "model": recording.model.slug,
        "versions": recording.versions,
        "passes": shown,
        "apis": recording.choice.apis,
        "level10_include": recording.capture.patterns,
        "definitions": {s.plan.name: s.definitions for s in recording.choice.servings},
        "expected": sorted({n for s in recording.choice.servings for n in s.definitions}),
        "derived": recording.choice.derived,
        "not_routed": recording.choice.absent,
        "notes": recording.choice.notes,
        "estimated_bytes": estimate,
        "work": str(recording.capture.work),
    }


def as_lines(found: Mapping[str, Any]) -> str:
    """The document for a person."""
    sizes = found["estimated_bytes"]
    return "\n".join([
        as_text(found),
        *(f"derived     {name}: {why}" for name, why in found["derived"].items()),
        f"level10     FLASHINFER_DUMP_INCLUDE={found['level10_include']}",
        f"estimated   {sizes['recorder'] / 1e6:.1f} MB recorded (level 10 would write "
        f"{sizes['level10'] / 1e9:.1f} GB)",
        f"work        {found['work']}",
    ])  # fmt: skip


def record(run: Run, recording: Recording) -> Path:
    """The record phase, unless it is done; returns the folder of what was recorded."""
    args, capture = run.args, recording.capture
    folder = capture.record or capture.level10
    assert folder is not None
    for note in recording.choice.notes:
        run.say(f"note: {note}")
    for name, why in recording.choice.absent.items():
        run.say(f"not collected: {name}: {why}")
    if phases.RECORD in recording.phases.done:
        run.say("record: done before")
        return folder
    hosts.require(recording.versions)
    budget = DiskBudget(capture.work, int(args.max_disk_gb * GIB))
    budget.check(now=True)
    size = document(run, recording)["estimated_bytes"][args.method]
    run.say(f"at most about {size / 1e6:.1f} MB will be recorded; {budget.summary()}")
    found = collecting.collect(
        recording.choice.servings, capture, recording.host, recording.about, recording.traffic,
        arguments.manner(args), budget, run.say,
    )  # fmt: skip
    report = {
        "engines": [vars(one) for one in found.engines],
        "servers": {name: asdict(driven) for name, driven in found.servers.items()},
        "failures": found.failures,
    }
    write_json(capture.work / "record.json", report)
    if not found.failures:
        recording.phases.finish(phases.RECORD, report)
    return folder


def _fingerprint(args: argparse.Namespace) -> dict[str, Any]:
    """The options that decide what is recorded."""
    left_out = {
        "resume", "json", "submit", "eval", "max_disk_gb", "timeout", "server_timeout", "port",
        "dry_run", "output",
    }  # fmt: skip
    return {name: value for name, value in vars(args).items() if name not in left_out}


def failures(recording: Recording) -> dict[str, str]:
    """Passes that failed in the record phase."""
    return dict(read_json(recording.capture.work / "record.json").get("failures") or {})


def has_records(folder: Path) -> bool:
    """Whether anything was recorded there."""
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def sanitise(run: Run, folder: Path) -> tuple[Outcome, dict[str, list[str]]]:
    """Workloads into the dataset; the outcome, and the new uuids by definition."""
    args = run.args
    before = _uuids(run)
    found = sanitize(folder, run.dataset, run.wanted, Settings(
        most=args.max_new_workloads, per_axes=args.workloads_per_batch,
        replace=args.replace_first, dry_run=args.dry_run,
        otherwise={"model": args.model_name} if args.model_name else {},
    ))  # fmt: skip
    after = _uuids(run)
    added = {name: [u for u in uuids if u not in before[name]] for name, uuids in after.items()}
    return found, {name: uuids for name, uuids in added.items() if uuids}


def _uuids(run: Run) -> dict[str, list[str]]:
    return {d.name: [w.workload.uuid for w in run.dataset.workloads_of(d)] for d in run.wanted}


def evaluate(
    run: Run, added: Mapping[str, Sequence[str]], recording: Recording
) -> evaluation.Evaluated | None:
    """The baseline on the new workloads, and on those of a run that ended before this phase."""
    state = recording.phases
    pending = {name: list(uuids) for name, uuids in state.done.get(phases.SANITIZE, {}).items()}
    for name, uuids in added.items():
        pending[name] = list(dict.fromkeys([*pending.get(name, []), *uuids]))
    state.finish(phases.SANITIZE, pending)
    if not run.args.eval or not pending or (phases.EVALUATE in state.done and not added):
        return None
    folder = recording.capture.work / "evaluation"
    found = evaluation.evaluate(run.dataset, pending, folder, timeout_s=3600)
    if found.ok and not found.without_baseline:
        state.finish(phases.EVALUATE, vars(found))
    return found


def submission(
    run: Run, found: Outcome, recording: Recording | None
) -> submissions.Submission | None:
    """The dataset's commit, where this run or an earlier one has added what is not committed."""
    root = run.dataset.root
    op_types = {d.name: d.op_type for d in run.wanted}
    rows = []
    for item in found.definitions:
        if item.written is None:
            continue
        file = f"workloads/{op_types[item.name]}/{item.name}.jsonl"
        count = submissions.uncommitted(root, file, item.written.added)
        rows.append({"name": item.name, "op_type": op_types[item.name], "added": count,
                     "ranges": item.ranges()})  # fmt: skip
    rows = [row for row in rows if row["added"]]
    return submissions.prepare(root, rows, _about(run, recording)) if rows else None


def _about(run: Run, recording: Recording | None) -> dict[str, Any]:
    """Where the workloads come from, for the pull request's text."""
    if recording is None:
        return {"model": run.args.model_name}
    versions = {name: recording.versions.get(name) for name in ("sglang", "flashinfer")}
    return {**recording.about, **versions}


def keep_text(run: Run, made: submissions.Submission, recording: Recording | None) -> None:
    """Write the pull request's text into the run's folder; a dump that is there has none."""
    if recording is None:
        return
    path = recording.capture.work / "pull_request.md"
    atomic.write_text(path, f"# {made.title}\n\n{made.body}")
    run.say(f"text of the pull request: {path}")


def report(found: Outcome, *, dry_run: bool) -> tuple[dict[str, Any], str]:
    """The sanitising report as a document and as text."""
    return outcomes.document(found, dry_run=dry_run), outcomes.text(found, dry_run=dry_run)
