"""The passes of a model: one for each TP, EP, page size and variant."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kernelkit.capture.sglang_pass import memory, routing
from kernelkit.capture.sglang_pass.reduction import reduce_config
from kernelkit.capture.sglang_pass.traffic import Batch, short_pass
from kernelkit.capture.sglang_pass.variants import (
    ENVIRONMENT,
    Choices,
    Flags,
    Variant,
    variants,
)
from kernelkit.dataset.definition import Definition
from kernelkit.errors import KernelkitError
from kernelkit.models.load import Model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive


@dataclass(frozen=True)
class Options:
    """What a person asks for."""

    parallel: Sequence[Parallelism] = (Parallelism(),)
    page_sizes: Sequence[int] = (1,)
    layers: int | None = None
    emulate: bool = True
    weights: str | None = None  # a checkpoint's folder or repository; None: dummy weights
    keep_quantization: bool = False
    variants: Sequence[str] | None = None
    choices: Choices = field(default_factory=Choices)
    version: str = "0.5.14"  # of SGLang


@dataclass(frozen=True)
class PassPlan:
    """One engine. `config` is None with real weights: the checkpoint's own is used."""

    name: str
    parallel: Parallelism
    page_size: int
    variant: Variant
    config: dict[str, Any] | None
    changes: dict[str, list[Any]]
    engine: dict[str, Any]
    env: dict[str, str]
    gpus: int
    vocab_size: int
    batches: list[Batch]


@dataclass
class Plan:
    """All passes of a model, the definitions that they are held against, what cannot be run."""

    model: str
    passes: list[PassPlan] = field(default_factory=list)
    expected: dict[str, Definition] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # definition -> why no pass shows it
    notes: list[str] = field(default_factory=list)


def make_plan(model: Model, options: Options) -> Plan:
    """Plan the passes. A configuration that cannot be run is a note, never an error."""
    plan = Plan(model.slug)
    refused = routing.refusal(model.spec.architecture, options.version)
    if refused is not None:
        plan.notes.append(f"{model.spec.architecture}: {refused}")
    found = variants(model.spec, options.choices, refused=refused is not None)
    if options.variants:
        found = [variant for variant in found if variant.name in options.variants]
        gone = set(options.variants) - {variant.name for variant in found}
        plan.notes += [f"variant {name}: shows nothing more of this model" for name in sorted(gone)]
    if any(size > 1 for size in options.page_sizes):
        plan.notes.append(str(routing.case("page_size", options.version)))
    shown: set[Parallelism] = set()
    asked = _distinct(model, options)
    for parallel in asked:
        try:
            plan.passes += _passes(model, options, parallel, found)
            shown.add(parallel)
        except KernelkitError as error:
            plan.notes.append(f"tp={parallel.tp}, ep={parallel.ep}: {error}")
    _expect(plan, model, options, found, [p for p in asked if p in shown])
    return plan


def _distinct(model: Model, options: Options) -> list[Parallelism]:
    """The configurations; without experts those that differ in EP alone are one pass."""
    if model.spec.moe is not None:
        return list(options.parallel)
    return list(dict.fromkeys(Parallelism(parallel.tp) for parallel in options.parallel))


def _passes(
    model: Model, options: Options, parallel: Parallelism, found: Sequence[Variant]
) -> list[PassPlan]:
    """The passes of one (TP, EP)."""
    config, changes = None, {}
    if options.weights is None:
        split = parallel if options.emulate else Parallelism()
        reduced = reduce_config(
            model.config, split, layers=options.layers, keep_quantization=options.keep_quantization
        )
        config, changes = reduced.config, reduced.changes
    batches = short_pass()
    most = max(len(batch.prompt_lens) for batch in batches)
    return [
        PassPlan(
            name=f"tp{parallel.tp}-ep{parallel.ep}-ps{page_size}-{variant.name}",
            parallel=parallel, page_size=page_size, variant=variant,
            config=config, changes=changes,
            engine=memory.bounded(model.spec, _engine(options, parallel, page_size, variant), most),
            env={**_environment(options), **variant.env},
            gpus=1 if options.emulate else parallel.tp,
            vocab_size=model.spec.vocab_size,
            batches=batches,
        )
        for page_size in options.page_sizes
        for variant in found
    ]  # fmt: skip


def _engine(
    options: Options, parallel: Parallelism, page_size: int, variant: Variant
) -> dict[str, Any]:
    real = not options.emulate
    is_dummy = options.weights is None
    engine: dict[str, Any] = {
        "load_format": "dummy" if is_dummy else "auto",
        # A config that names no dtype, or float32, would be served in float16.
        **({"dtype": "bfloat16"} if is_dummy else {}),
        "page_size": page_size,
        "tp_size": parallel.tp if real else 1,
        "ep_size": parallel.ep if real else 1,
    }
    return {**engine, **variant.engine}


def _environment(options: Options) -> dict[str, str]:
    """With a real checkpoint the hub may be asked for its tokenizer and code."""
    left_out = set() if options.weights is None else {"HF_HUB_OFFLINE"}
    return {name: value for name, value in ENVIRONMENT.items() if name not in left_out}


def _expect(
    plan: Plan,
    model: Model,
    options: Options,
    found: Sequence[Variant],
    shown: Sequence[Parallelism],
) -> None:
    """The definitions of what is run, and for each that no variant shows, the reason."""
    request = Request(
        tags=(f"model:{model.slug}",), parallel=tuple(shown), page_sizes=tuple(options.page_sizes)
    )
    if not shown:
        return
    flags = _seen_together([variant.flags for variant in found])
    for variant in derive(model.spec, request).variants:
        definition = variant.definition
        plan.expected[definition.name] = definition
        reason = routing.absence(definition, model.spec, flags, options.version)
        if reason is not None:
            plan.absent[definition.name] = str(reason)


def _seen_together(flags: Sequence[Flags]) -> Flags:
    """What at least one of the variants shows."""
    if not flags:
        return Flags(attention=False, ragged=False)
    names = ("attention", "paged", "ragged", "linear_attention", "mamba")
    seen = {name: any(getattr(one, name) for one in flags) for name in names}
    return Flags(**seen, deterministic=all(one.deterministic for one in flags))


def passes_document(passes: Sequence[PassPlan]) -> list[dict[str, Any]]:
    """Passes as JSON types."""
    return [
        {
            "name": item.name, "tp": item.parallel.tp, "ep": item.parallel.ep,
            "page_size": item.page_size, "variant": item.variant.name, "gpus": item.gpus,
            "config_changes": item.changes, "engine": item.engine, "env": item.env,
            "batches": [asdict(batch) for batch in item.batches],
        }
        for item in passes
    ]  # fmt: skip


def as_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON types, for `--dry-run` and the run's folder."""
    return {
        "model": plan.model,
        "passes": passes_document(plan.passes),
        "expected": sorted(set(plan.expected) - set(plan.absent)),
        "not_routed": plan.absent,
        "notes": plan.notes,
    }  # fmt: skip


def as_text(document: dict[str, Any]) -> str:
    """The document of a plan for a person, with each pass's whole environment and arguments."""
    lines = []
    for item in document["passes"]:
        changes = [f"{name}: {old} -> {new}" for name, (old, new) in item["config_changes"].items()]
        lines += [
            item["name"],
            "  env     " + shlex.join(f"{name}={value}" for name, value in item["env"].items()),
            "  engine  " + " ".join(f"{name}={value}" for name, value in item["engine"].items()),
            "  config  " + ", ".join(changes),
        ]
        if "command" in item:
            lines.append("  command " + shlex.join(item["command"]))
    lines += [f"expected    {name}" for name in document["expected"]]
    lines += [f"not routed  {name}: {why}" for name, why in document["not_routed"].items()]
    return "\n".join(lines)
