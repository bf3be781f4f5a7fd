"""Branches that are left open: both are run, and what they leave is joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelkit.sglang.interpret.ends import BREAKS, CONTINUES, FALLS, LEAVES, RAISES
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import Instance, choose

State = tuple[dict[str, Any], dict[str, Any] | None]


def follow_both(
    m: Machine,
    frame: Frame,
    text: str,
    negated: str,
    first: Callable[[], str],
    second: Callable[[], str],
) -> str:
    """Run both branches from one state and join what they leave."""
    before = _state(frame)
    ends_first = under(m, text, first)
    after_first = _state(frame)
    _restore(frame, before)
    ends_second = under(m, negated, second)
    if CONTINUES in (ends_first, ends_second) or BREAKS in (ends_first, ends_second):
        frame.escaped = True
    if ends_first and ends_second:
        return RAISES if ends_first == ends_second == RAISES else LEAVES
    if ends_second:
        _restore(frame, after_first)
        _note_left(m, ends_second, text)
    elif ends_first:
        _note_left(m, ends_first, negated)
    else:
        _join(frame, after_first)
    return FALLS


def under(m: Machine, text: str, branch: Callable[[], str]) -> str:
    """Run a branch while its condition holds."""
    m.conditions.append(text)
    try:
        return branch()
    finally:
        m.conditions.pop()


def _note_left(m: Machine, ends: str, text: str) -> None:
    """After a branch that returns, the rest runs only under the other condition.

    A branch that raises is a check of the input, not a choice.
    """
    if ends != RAISES:
        m.conditions.append(text)


def _state(frame: Frame) -> State:
    receiver = frame.receiver
    return dict(frame.names), dict(receiver.attrs) if isinstance(receiver, Instance) else None


def _restore(frame: Frame, state: State) -> None:
    frame.names.clear()
    frame.names.update(state[0])
    if state[1] is not None:
        frame.receiver.attrs.clear()
        frame.receiver.attrs.update(state[1])


def _join(frame: Frame, other: State) -> None:
    _join_names(frame.names, other[0])
    if other[1] is not None:
        _join_names(frame.receiver.attrs, other[1])


def _join_names(names: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in other.items():
        if name not in names:
            names[name] = value
        elif names[name] is not value:
            names[name] = choose(value, names[name])
