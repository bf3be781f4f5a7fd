"""Which plan a wrapper's run belongs to: the last one of the same object in the same process.

Wrappers interleave, so the last plan of a class tells nothing; `self_id` does. An `__init__` with
the id of an object that was collected begins a new one. A dump has a limit of calls, so that the
plans of later decode steps may stand there without a run: they are real steps, and every run of
their wrapper shows the tensors they would have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from kernelkit.capture.sanitize.calls import NO_PLAN, NO_RUN, Call, Unusable

# A plan of these tells the rows of q; the prefill wrappers are planned even when they do not run.
PLAN_SUFFICES = ("BatchDecodeWithPagedKVCacheWrapper", "BatchMLAPagedAttentionWrapper")


@dataclass
class _Wrapper:
    """What is known of one wrapper object."""

    setup: Call | None = None
    plan: Call | None = None
    ran: bool = True  # whether the plan has had a run
    a_run: Call | None = None
    waiting: list[Call] = field(default_factory=list)


def paired(calls: Iterable[Call | Unusable]) -> Iterator[Call | Unusable]:
    """Functions as they are, runs with their plan, and plans that had none (`from_plan`)."""
    wrappers: dict[tuple[object, int | None], dict[str, _Wrapper]] = {}
    for call in calls:
        if isinstance(call, Unusable) or not call.method:
            yield call
            continue
        objects = wrappers.setdefault((call.process, call.wrapper), {})
        if call.method == "__init__":
            for wrapper in objects.values():
                yield from _left(wrapper)
            objects.clear()
        yield from _method(call, objects.setdefault(call.api, _Wrapper()))
    for objects in wrappers.values():
        for wrapper in objects.values():
            yield from _left(wrapper)


def _method(call: Call, wrapper: _Wrapper) -> Iterator[Call | Unusable]:
    if call.method == "__init__":
        wrapper.setup = call
    elif call.method == "plan":
        if not wrapper.ran and wrapper.plan is not None:
            wrapper.waiting.append(wrapper.plan)
        wrapper.plan, wrapper.ran = call, False
    elif wrapper.plan is None:
        yield Unusable(NO_PLAN, "", call.place)
    else:
        call.plan, call.setup = wrapper.plan, wrapper.setup
        wrapper.a_run, wrapper.ran = call, True
        yield call


def _left(wrapper: _Wrapper) -> Iterator[Call | Unusable]:
    """Plans without a run, with the tensors of one that had it."""
    plans = wrapper.waiting + ([] if wrapper.ran or wrapper.plan is None else [wrapper.plan])
    run = wrapper.a_run
    for plan in plans:
        if run is None or plan.api not in PLAN_SUFFICES:
            yield Unusable(NO_RUN, "", plan.place)
        else:
            yield replace(run, plan=plan, place=plan.place, from_plan=True)
