"""Which definitions, on which model, by which passes; and what the recorder is to watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kernelkit.capture.sglang_pass import routing
from kernelkit.capture.sglang_pass.planning import Options, PassPlan, make_plan
from kernelkit.capture.sglang_pass.variants import Choices, variants
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_of
from kernelkit.errors import KernelkitError, NothingSelectedError, UsageError
from kernelkit.models.load import Model
from kernelkit.models.naming import repository
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive

# The model of an op type where neither an option nor a tag names one.
DEFAULT_MODELS = {"mla": "deepseek-v3", "dsa": "deepseek-v3", "moe": "deepseek-v3",
                  "gdn": "qwen3-next-80b-a3b", "mamba": "nemotron-h-56b-base-8k"}  # fmt: skip
DEFAULT_MODEL = "llama-3.1-8b"
SIZES = (1, 2, 4, 8, 16)
ENGINE, SERVER = "engine", "server"


@dataclass(frozen=True)
class Serving:
    """One pass of the collection: how it is run, and the definitions it is to show."""

    plan: PassPlan
    definitions: list[str]
    traffic: list[str]  # of ENGINE, SERVER


@dataclass
class Choice:
    """What will be collected."""

    servings: list[Serving] = field(default_factory=list)
    apis: dict[str, list[str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)  # not called; sizes of others' calls
    notes: list[str] = field(default_factory=list)


def model_name(definitions: Sequence[Definition]) -> str:
    """The model that most of the definitions are tagged with and that is known; else a default."""
    votes: dict[str, int] = {}
    for definition in definitions:
        for tag in definition.tags:
            if tag.startswith("model:") and _is_known(tag.removeprefix("model:")):
                name = tag.removeprefix("model:")
                votes[name] = votes.get(name, 0) + 1
    if votes:
        return max(sorted(votes), key=lambda name: votes[name])
    op_type = definitions[0].op_type
    found = (name for prefix, name in DEFAULT_MODELS.items() if op_type.startswith(prefix))
    return next(found, DEFAULT_MODEL)


def _is_known(name: str) -> bool:
    try:
        repository(name)
    except UsageError:
        return False
    return True


def wanted_apis(definitions: Sequence[Definition]) -> dict[str, list[str]]:
    """FlashInfer API -> names of the definitions that its calls may be workloads of."""
    apis: dict[str, list[str]] = {}
    for definition in definitions:
        if (api := fi_api_of(definition.tags)) is not None:
            apis.setdefault(api, []).append(definition.name)
    return apis


def note_uncalled(choice: Choice, wanted: Sequence[Definition]) -> None:
    """Say of each definition without an API whether it gets workloads all the same.

    SGLang's GEMMs are cuBLAS calls: their M is the rows of the norms (`sanitize.gemms`).
    """
    shown = [name for serving in choice.servings for name in serving.definitions]
    norms = {d.name for d in wanted if d.op_type == "rmsnorm" and "residual" in d.inputs}
    for definition in wanted:
        if fi_api_of(definition.tags) is not None:
            continue
        if definition.op_type != "gemm":
            choice.absent[definition.name] = "no fi_api: tag says which call is its own"
        elif norms.intersection(shown):
            choice.derived[definition.name] = "M from the rows of the norms, not a call of its own"
        else:
            choice.absent[definition.name] = "no fused norm is recorded whose rows would be its M"


def level10_patterns(apis: dict[str, list[str]]) -> str:
    """FLASHINFER_DUMP_INCLUDE for these APIs. Names are matched with case, and a wrapper's calls
    are named by its class at run time: `*` before it covers the CUDA-graph subclass.
    """
    names = sorted({api.rpartition(".")[2] for api in apis})
    return ",".join(f"*{name}.*" if name[:1].isupper() else name for name in names)


def choose(
    model: Model,
    definitions: Sequence[Definition],
    options: Options,
    sizes: Sequence[Parallelism] | None,
    traffic: str = "auto",
    preferred: Sequence[Parallelism] = (),
) -> Choice:
    """The passes that show the definitions, as few as possible.

    `sizes` None: for each definition the first (TP, EP) that gives it, those of `preferred` (the
    cookbook's) before others. Raises NothingSelectedError where no definition can be shown.
    """
    choice = Choice(apis=wanted_apis(definitions))
    if note := routing.refusal(model.spec.architecture, options.version):
        choice.notes.append(f"{model.spec.architecture}: {note}")
    tried = sizes or [*preferred, *(Parallelism(n, m) for n in SIZES for m in sorted({1, n}))]
    groups = _groups(model, definitions, options, list(dict.fromkeys(tried)), choice)
    for parallel, members in groups.items():
        choice.servings += _servings(model, members, options, parallel, traffic, choice)
    if not choice.servings:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(choice.absent.items())[:3])
        raise NothingSelectedError(
            "no definition can be collected from this model", received=reasons,
            next_step="another --model-name, --tp or --ep",
        )  # fmt: skip
    return choice


def _groups(
    model: Model,
    definitions: Sequence[Definition],
    options: Options,
    tried: Sequence[Parallelism],
    choice: Choice,
) -> dict[Parallelism, list[Definition]]:
    """The definitions by the parallel sizes that give them."""
    names = {p: _names(model, p, options) for p in tried}
    groups: dict[Parallelism, list[Definition]] = {}
    for definition in definitions:
        fits = [p for p in tried if definition.name in names[p]]
        if not fits:
            choice.absent[definition.name] = _why_no_shape(model, definition, options, tried)
            continue
        known = next((p for p in fits if p in groups), fits[0])
        groups.setdefault(known, []).append(definition)
    return groups


def _why_no_shape(
    model: Model, definition: Definition, options: Options, tried: Sequence[Parallelism]
) -> str:
    if routing.has_pages(definition):
        return str(routing.case("page_size", options.version))
    given = ", ".join(f"tp={p.tp} ep={p.ep}" for p in tried)
    return f"{model.slug} has no such shape with {given}"


def _names(model: Model, parallel: Parallelism, options: Options) -> set[str]:
    request = Request(parallel=(parallel,), page_sizes=tuple({1, *options.page_sizes}))
    return {variant.definition.name for variant in derive(model.spec, request).variants}


def _servings(
    model: Model,
    members: Sequence[Definition],
    options: Options,
    parallel: Parallelism,
    traffic: str,
    choice: Choice,
) -> list[Serving]:
    """Passes of one (TP, EP), each with the definitions that no earlier one shows."""
    refused = routing.refusal(model.spec.architecture, options.version) is not None
    left = list(members)
    needed: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for variant in variants(model.spec, options.choices, refused=refused):
        shown = []
        for definition in left:
            why = routing.absence(definition, model.spec, variant.flags, options.version)
            if why is None:
                shown.append(definition)
            else:
                reasons[definition.name] = str(why)
        if shown:
            needed[variant.name] = [definition.name for definition in shown]
            left = [definition for definition in left if definition not in shown]
    choice.absent |= {definition.name: reasons[definition.name] for definition in left}
    if not needed:
        return []
    try:
        plan = make_plan(model, replace(options, parallel=(parallel,), variants=list(needed)))
    except KernelkitError as error:
        choice.notes.append(str(error))
        return []
    choice.notes += [note for note in plan.notes if note not in choice.notes]
    return [
        Serving(item, needed[item.variant.name], _traffic(needed[item.variant.name], traffic))
        for item in plan.passes
    ]


def _traffic(names: Sequence[str], asked: str) -> list[str]:
    """Exact decode batches for decode; a server for prefill; both for what both call."""
    if asked != "auto":
        return [ENGINE, SERVER] if asked == "both" else [asked]
    is_prefill = [("prefill" in name or "ragged" in name) for name in names]
    if all(is_prefill):
        return [SERVER]
    is_decode = ["decode" in name or "ssu" in name for name in names]
    return [ENGINE] if all(is_decode) else [ENGINE, SERVER]


def as_options(
    *, weights: str | None, emulate: bool, layers: int | None, page_size: int,
    quantization: str, extra: dict[str, Any], version: str,
) -> Options:  # fmt: skip
    """The options of a collection's passes."""
    named = None if quantization in ("none", "config") else quantization
    return Options(
        page_sizes=(page_size,), layers=layers, emulate=emulate, weights=weights,
        keep_quantization=quantization != "none",
        choices=Choices(quantization=named, extra=extra), version=version,
    )  # fmt: skip
