"""From a ModelSpec to the definitions of its serving configurations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernelkit.dataset.tags import merge_tags
from kernelkit.errors import UsageError
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import OP_TYPES, family
from kernelkit.ops.base import OpFamily, Variant

if TYPE_CHECKING:
    from kernelkit.models.spec import ModelSpec

DEFAULT_PAGE_SIZES = (1, 64)


@dataclass(frozen=True)
class Request:
    """What to derive: the serving configurations, and what each definition is tagged with."""

    tags: tuple[str, ...] = ()
    parallel: tuple[Parallelism, ...] = (Parallelism(),)
    page_sizes: tuple[int, ...] = DEFAULT_PAGE_SIZES
    op_types: tuple[str, ...] = OP_TYPES
    shard_gemm: bool = False


@dataclass
class Derivation:
    """The derived definitions in order, and the configurations that a family cannot serve."""

    variants: list[Variant] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def derive(spec: ModelSpec, request: Request) -> Derivation:
    """All definitions of a model, each once, tagged with every configuration that yields it.

    A configuration that does not divide the model (tp=4 on 10 KV heads) is skipped for the
    families that it concerns, and named in `skipped`.
    """
    result = Derivation()
    found: dict[str, Variant] = {}
    for op_type in request.op_types:
        for parallel in _configurations(family(op_type), request):
            try:
                variants = list(_variants(spec, op_type, parallel, request))
            except UsageError as error:
                result.skipped.append(f"{op_type} at {_named(parallel)}: {error}")
                continue
            for variant in variants:
                known = found.setdefault(_identity(variant), variant)
                _add_tags(known, variant.definition.tags)
    result.variants = list(found.values())
    return result


def _identity(variant: Variant) -> str:
    """Two variants are one definition where name, signature and reference text agree."""
    return repr(variant.definition.signature()) + variant.definition.reference


def _add_tags(variant: Variant, tags: list[str]) -> None:
    variant.definition.tags[:] = merge_tags(variant.definition.tags, tags)


def _configurations(op: OpFamily, request: Request) -> list[Parallelism]:
    """The distinct configurations as far as they concern the family."""
    if op.op_type == "gemm" and request.shard_gemm:
        chosen = [Parallelism(tp=p.tp) for p in request.parallel]
    elif op.divided_by == "tp":
        chosen = [Parallelism(tp=p.tp) for p in request.parallel]
    elif op.divided_by == "ep":
        chosen = [Parallelism(ep=p.ep) for p in request.parallel]
    else:
        chosen = [Parallelism()]
    return list(dict.fromkeys(chosen))


def _variants(
    spec: ModelSpec, op_type: str, parallel: Parallelism, request: Request
) -> Iterator[Variant]:
    op = family(op_type)
    options = {"shard": True} if op_type == "gemm" and request.shard_gemm else {}
    divided_by = "tp" if options else op.divided_by
    parallel_tags = [f"{divided_by}:{getattr(parallel, divided_by)}"] if divided_by else []
    for variant in op.derive(spec, parallel, request.page_sizes, **options):
        _add_tags(variant, ["status:unverified", *request.tags, *parallel_tags])
        yield variant


def _named(parallel: Parallelism) -> str:
    return f"tp={parallel.tp}, ep={parallel.ep}"
