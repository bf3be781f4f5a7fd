"""All static rules over one solution."""

from __future__ import annotations

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec
from kernelkit.solutions.check import (
    attention,
    builds,
    device,
    experts,
    inputs,
    interface,
    lse,
    memory,
    packaging,
    pages,
    pointwise,
    process,
    recurrent,
    triton_rules,
)
from kernelkit.solutions.check.codes import ERROR, WARNING, Finding
from kernelkit.solutions.check.context import Context, Rule

GROUPS = (interface, inputs, packaging, builds, lse, attention, pages, recurrent, experts,
          pointwise, memory, triton_rules, device, process)  # fmt: skip
RULES: tuple[Rule, ...] = tuple(rule for group in GROUPS for rule in group.RULES)
_ORDER = {ERROR: 0, WARNING: 1}


def check_static(spec: BuildSpec, definition: Definition, sources: dict[str, str]) -> list[Finding]:
    """What the rules find, each once, errors first."""
    context = Context(spec, definition, sources)
    found = [finding for rule in RULES for finding in rule(context)]
    return ordered(found)


def ordered(findings: list[Finding]) -> list[Finding]:
    """Each once; by severity, then code and place."""
    once = dict.fromkeys(findings)
    return sorted(once, key=lambda f: (_ORDER.get(f.severity, 2), f.code, f.file, f.line or 0))
