"""Where the errors are: which rows, heads, columns, kinds of requests; and how large they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.matching import Observation
from kernelkit.solutions.doctor.report import Finding

if TYPE_CHECKING:
    import torch

    Groups = dict[str, dict[str, torch.Tensor]]  # by case, then by name: masks over rows

FULL = 0.999
MOST_SHOWN = 8
TILE = 16  # a tail that starts at a multiple of this is a tile's
FALL, STRAY = 0.03, 0.01  # got may fall by this share of its range, in this share of elements
OTHERS = 0.1  # of the rows: so many others must be right before a kind of row is to blame
LOW_PRECISION = 0.08  # relative error (2-norm) up to which rounding is a likely cause
MIXED = 0.02  # the gain of an error by rounding is nearer to one than this


def facts(definition: Definition, observations: Sequence[Observation], groups: Groups) -> list[str]:
    """Sentences on the errors of each refused output."""
    found: list[str] = []
    for name in dict.fromkeys(o.name for o in observations if o.failed):
        seen = [o for o in observations if o.name == name and o.failed]
        worst = max(seen, key=lambda o: float(o.wrong.float().mean()))
        found.append(_size(name, worst))
        found += _axes(definition, worst)
        found += [f"{name}: {text}" for text in _where(seen, groups)]
    return found


def _size(name: str, seen: Observation) -> str:
    finite = seen.got.double().isfinite() & seen.want.double().isfinite()
    error = (seen.got.double() - seen.want.double()).abs().where(finite, 0.0)
    bad = int((~seen.got.double().isfinite() & seen.want.double().isfinite()).sum())
    text = (
        f"{name}: {int(seen.wrong.sum())} of {seen.wrong.numel()} elements are wrong in "
        f"{seen.case}, largest error {float(error.max()):.3g}, "
        f"{relative(seen):.1%} of the reference's norm"
    )
    return text + (f", {bad} NaN or infinite" if bad else "")


def relative(seen: Observation) -> float:
    """|got - want| / |want| over finite elements."""
    got, want = seen.got.double(), seen.want.double()
    finite = got.isfinite() & want.isfinite()
    size = float(want.where(finite, 0.0).norm())
    return float((got - want).where(finite, 0.0).norm()) / size if size else math.inf


def gain(seen: Observation) -> float:
    """The factor that fits best got = gain * want."""
    got, want = seen.got.double(), seen.want.double()
    finite = got.isfinite() & want.isfinite()
    got, want = got.where(finite, 0.0), want.where(finite, 0.0)
    energy = float((want * want).sum())
    return float((got * want).sum()) / energy if energy else 1.0


def _axes(definition: Definition, seen: Observation) -> Iterator[str]:
    """Axes of which only some indices have errors."""
    labels = definition.outputs[seen.name].shape or []
    for axis, label in enumerate(labels[: seen.wrong.dim()]):
        wrong = _indices(seen, axis)
        if 0 < len(wrong) < seen.wrong.shape[axis]:
            shown = ", ".join(map(str, wrong[:MOST_SHOWN]))
            more = " ..." if len(wrong) > MOST_SHOWN else ""
            yield (
                f"{seen.name}: of {seen.wrong.shape[axis]} indices of {label} only "
                f"{len(wrong)} have errors in {seen.case}: {shown}{more}"
            )


def _indices(seen: Observation, axis: int) -> list[int]:
    others = [a for a in range(seen.wrong.dim()) if a != axis]
    return (seen.wrong.any(dim=others) if others else seen.wrong).nonzero()[:, 0].tolist()


def _where(seen: Sequence[Observation], groups: Groups) -> Iterator[str]:
    """Kinds of rows to which the errors are confined, over all cases."""
    for label in dict.fromkeys(n for named in groups.values() for n in named):
        inside, rows = confined(seen, groups, label)
        if inside and rows:
            yield f"all errors lie in {label} ({rows} rows of {len(seen)} cases)"


def confined(seen: Sequence[Observation], groups: Groups, label: str) -> tuple[bool, int]:
    """Whether all wrong rows are of the kind `label` while others are right, and how many are."""
    count, outside, rows = 0, 0, 0
    for one in seen:
        mask = groups.get(one.case, {}).get(label)
        if mask is None or len(mask) != one.wrong.shape[0]:
            return False, 0
        wrong = one.wrong.flatten(1).any(dim=1).cpu() if one.wrong.dim() > 1 else one.wrong.cpu()
        if bool((wrong & ~mask).any()):
            return False, 0
        count += int(wrong.sum())
        outside += int((~mask).sum())
        rows += len(mask)
    return count > 0 and outside >= OTHERS * rows, count


def likely(
    definition: Definition, observations: Sequence[Observation], groups: Groups
) -> list[Finding]:
    """Causes that the places of the errors alone suggest, the surest first."""
    failed = [o for o in observations if o.failed]
    found = list(_by_label(failed, groups))
    if not found:
        found += list(_tails(definition, failed))
    if not found and failed and all(_monotone(o) for o in failed):
        found.append(Finding(
            "elementwise-function", "each element is a function of the right one: something is "
            "applied to the result, element by element",
            [f"{failed[0].name} grows with the reference's element, gain {gain(failed[0]):.3f}"],
            "look for an activation, a clamp or a cast behind the op", certain=False,
        ))  # fmt: skip
    if not found and failed and all(_rounding(o) for o in failed):
        worst = max(failed, key=relative)
        found.append(Finding(
            "low-precision", "errors are small, without bias and everywhere: something is rounded "
            "on the way (a sum in 16 bits, operands in 8)",
            [f"{worst.name} in {worst.case}: {relative(worst):.2%} of the norm, gain "
             f"{gain(worst):.4f}"],
            "accumulate in float32; round once, at the end", certain=False,
        ))  # fmt: skip
    return found


def _monotone(seen: Observation) -> bool:
    """Whether got only grows where want does: a function of the right element, not of others."""
    finite = seen.got.double().isfinite() & seen.want.double().isfinite()
    got, want = seen.got.double()[finite], seen.want.double()[finite]
    if not len(got) or relative(seen) < LOW_PRECISION:
        return False
    ordered = got[want.argsort()]
    fall = ordered.cummax(dim=0).values - ordered
    return float((fall > FALL * (got.max() - got.min())).double().mean()) < STRAY


def _rounding(seen: Observation) -> bool:
    finite = bool(seen.got.double().isfinite().all() == seen.want.double().isfinite().all())
    return finite and relative(seen) < LOW_PRECISION and abs(gain(seen) - 1.0) < MIXED


CAUSES = {
    "requests without keys": (
        "empty-request", "a request without keys gets something else than output 0 and LSE -inf",
        "give output 0 and LSE -inf where a request is empty"),
    "requests with q_len > kv_len": (
        "rows-without-keys", "queries that see no key get something else than 0 and -inf",
        "give output 0 and LSE -inf where no key is seen"),
    "requests of padded slots": (
        "padded-slots", "requests whose slot is below 0 are not handled",
        "give output 0 and write no state for them"),
    "rows of zeros": (
        "row-of-zeros", "a row of zeros gives something else than zeros",
        "add epsilon below the root"),
    "tokens without an expert at hand": (
        "tokens-without-expert", "tokens whose experts are elsewhere get something else than 0",
        "fill the output with zeros first"),
}  # fmt: skip
SUSPECTS = {
    "requests whose last page is not full": (
        "partial-last-page", "errors lie where the last page is not full",
        "read kv_last_page_len tokens of the last page"),
    "requests with q_len < kv_len": (
        "cached-prefix", "errors lie in requests that have cached tokens before their queries",
        "the causal mask is k <= q + kv_len - q_len"),
    "sequences behind the first": (
        "first-sequence-only", "only the first sequence is right",
        "start each sequence at cu_seqlens[i], from its own state"),
    "requests after the first": (
        "first-request-only", "only the first request is right",
        "index every per-request tensor by the request"),
    "requests of more than one page": (
        "second-page", "errors lie in requests of more than one page",
        "go through kv_indices page by page"),
    "tokens behind the first of their sequence": (
        "first-token-only", "only the first token of a sequence is right",
        "carry the state from token to token"),
    "tokens with padded indices": (
        "padded-indices", "errors lie in tokens with indices of -1",
        "mask them with -inf before softmax"),
}  # fmt: skip


def _by_label(failed: Sequence[Observation], groups: Groups) -> Iterator[Finding]:
    for certain, table in ((True, CAUSES), (False, SUSPECTS)):
        for label, (cause, meaning, change) in table.items():
            results = [confined([o], groups, label) for o in failed]
            several = sum(rows for _, rows in results)
            if results and all(inside for inside, _ in results):
                nan = sum(int(o.got.double().isnan().sum()) for o in failed)
                evidence = [f"all {several} wrong rows are {label}; all other rows are right"]
                evidence += [f"{nan} of their elements are NaN"] if nan else []
                yield Finding(cause, meaning, evidence, change, certain=certain)
                return


def _tails(definition: Definition, failed: Sequence[Observation]) -> Iterator[Finding]:
    """Errors from some index of an axis on, to its end, where a tile begins."""
    for axis in range(min((o.wrong.dim() for o in failed), default=0)):
        starts = set()
        for one in failed:
            wrong, size = _indices(one, axis), one.wrong.shape[axis]
            tail = bool(wrong) and wrong == list(range(wrong[0], size)) and wrong[0] % TILE == 0
            starts.add(wrong[0] if tail and wrong[0] else None)
        if len(starts) == 1 and None not in starts:
            label = (definition.outputs[failed[0].name].shape or [])[axis]
            start = starts.pop()
            yield Finding(
                "tail-not-computed", f"errors start at index {start} of {label} and go to its end",
                [f"{failed[0].name}: indices {start} to {failed[0].wrong.shape[axis] - 1} of "
                 f"{label}"], f"cover all of {label}: the grid, or the mask of the last tile, "
                "stops too early", certain=False,
            )  # fmt: skip
            return
