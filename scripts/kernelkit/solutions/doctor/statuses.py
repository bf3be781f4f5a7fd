"""What is wrong before any number is compared: it does not load, raises, or returns something else.

`read` gives the outputs by name as far as they can be told, brought into the definition's form
where that is possible, so that the numbers are examined all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec
from kernelkit.solutions.doctor import forms
from kernelkit.solutions.doctor.cases import Case
from kernelkit.solutions.doctor.process import Answer, Session
from kernelkit.solutions.doctor.report import Finding

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


def load_findings(session: Session) -> list[Finding]:
    """Why the sources do not load, or the process ended before its calls."""
    if session.load_error:
        return [_load_finding(session)]
    if session.parameters is None and not session.answers and session.ended:
        return [Finding(
            "crashed-at-load", "the process ended while it loaded the sources",
            [session.ended, *_said(session)], "load the sources alone, step by step",
        )]  # fmt: skip
    return []


def _load_finding(session: Session) -> Finding:
    last = session.load_error.splitlines()[-1]
    evidence = session.load_error.splitlines()[-4:]
    if session.load_kind == "ModuleNotFoundError":
        return Finding(
            "module-not-found", "a module is absent: a package that is not installed here, or an "
            "own file that is not among the sources", evidence,
            "install the package and declare it in spec.dependencies; import own files relatively",
        )  # fmt: skip
    if session.load_kind == "AttributeError" and "has no attribute" in last:
        return Finding("entry-point-absent", "the entry function is not in the entry file",
                       evidence, "name a function of the file: file.py::function")  # fmt: skip
    if session.load_kind in ("SyntaxError", "IndentationError"):
        return Finding("syntax-error", "a source is not valid Python", evidence, "mend it")
    return Finding("does-not-load", "importing or building the sources raises an error", evidence,
                   "mend what the traceback names")  # fmt: skip


def argument_findings(session: Session, definition: Definition, spec: BuildSpec) -> list[Finding]:
    """The parameters of the entry function against the arguments that it gets."""
    names = session.parameters
    if names is None:
        return []
    inputs, outputs = list(definition.inputs), list(definition.outputs)
    passing = spec.destination_passing_style
    wanted = len(inputs) + (len(outputs) if passing else 0)
    evidence = [f"run({', '.join(names)}) takes {len(names)}, it is given {wanted}"]
    if len(names) == len(inputs) + len(outputs) and not passing:
        return [Finding(
            "destination-passing-flag", "run takes the outputs as arguments, and "
            "destination_passing_style is false", evidence,
            "set spec.destination_passing_style to true, or return the outputs",
        )]  # fmt: skip
    if len(names) == len(inputs) and passing:
        return [Finding(
            "destination-passing-flag", "run returns its outputs, and destination_passing_style "
            "is true (the format's default)", evidence,
            "set spec.destination_passing_style to false, or write into trailing arguments",
        )]  # fmt: skip
    raised = [a for a in session.answers.values() if a.kind == "TypeError"]
    if len(names) != wanted and raised and "argument" in raised[0].error:
        return [Finding(
            "wrong-number-of-arguments", "run takes another number of arguments", evidence,
            f"take {', '.join(inputs + (outputs if passing else []))}, in this order",
        )]  # fmt: skip
    return []


def misordered(session: Session, definition: Definition) -> bool:
    """Whether the parameters have the inputs' names in another order."""
    names = (session.parameters or [])[: len(definition.inputs)]
    return sorted(names) == sorted(definition.inputs) and names != list(definition.inputs)


def call_findings(session: Session, cases: Sequence[Case]) -> list[Finding]:
    """Calls that raised, and the one in which the process ended."""
    found = []
    if session.ended and session.during:
        cause = "no-end" if session.ended.startswith("no end") else "crashed"
        change = "look for a loop or a wait without end" if cause == "no-end" else (
            "look for an access out of bounds; compute-sanitizer shows it on a GPU")  # fmt: skip
        found.append(Finding(cause, f"the process did not survive the call {session.during!r}",
                             [session.ended, *_said(session)], change))  # fmt: skip
    raised = {name: a for name, a in session.answers.items() if a.error}
    if not raised:
        return found
    first = next(iter(raised.values()))
    evidence = [f"raised in: {', '.join(raised)}", *first.error.splitlines()[-4:]]
    fine = [name for name in session.answers if name not in raised]
    if fine:
        evidence.append(f"not raised in: {', '.join(fine)}")
    cause, meaning, change = _error_cause(raised, fine)
    found.append(Finding(cause, meaning, evidence, change))
    return found


def _error_cause(raised: dict[str, Answer], fine: list[str]) -> tuple[str, str, str]:
    """(cause, meaning, change) of errors in calls."""
    if list(raised) == ["single"] and fine:
        return ("fails-at-one-row", "it raises where there is one request or row only",
                "squeeze() without an axis loses it: name the axis")  # fmt: skip
    if set(raised) <= {"probe_empty"} and fine:
        return ("fails-at-empty-request", "it raises where a request has no keys",
                "give output 0 and LSE -inf where a request is empty")  # fmt: skip
    kinds = {answer.kind for answer in raised.values()}
    if kinds == {"IndexError"}:
        return (
            "index-out-of-bounds", "it indexes beyond the end of a tensor",
            "see which index tensor is taken for what: token or page ids, int32 offsets",
        )  # fmt: skip
    if kinds <= {"ModuleNotFoundError", "ImportError"}:
        return ("module-not-found", "a module that it imports when called is absent",
                "install the package and declare it in spec.dependencies")  # fmt: skip
    return ("raises", "the call raises an error", "mend what the traceback names")


def read(
    answer: Answer, definition: Definition, want: Tensors, passing: bool
) -> tuple[Tensors, list[Finding]]:
    """The outputs by name, in the definition's form as far as that goes, and what is not so."""
    if passing:
        return forms.named(answer, want)
    if answer.returned == "NoneType":
        return {}, [Finding(
            "returns-nothing", "run returns None", ["returned: None"],
            "return the outputs; or write into trailing arguments and set "
            "spec.destination_passing_style to true",
        )]  # fmt: skip
    return forms.named(answer, want)


def changed_inputs(session: Session) -> list[Finding]:
    """Inputs that the solution wrote to."""
    names = sorted({name for answer in session.answers.values() for name in answer.changed})
    if not names:
        return []
    return [Finding(
        "inputs-modified", "the solution writes to its inputs",
        [f"after a call their contents differ: {', '.join(names)}"],
        "work on a copy: an in-place API needs its argument cloned; the next call gets the "
        "changed values otherwise",
    )]  # fmt: skip


def notes(session: Session) -> list[str]:
    """What is allowed and worth knowing."""
    found = []
    infos = [info for a in session.answers.values() if not a.error for info in a.outputs]
    if any(info.get("contiguous") is False for info in infos):
        found.append("an output is not contiguous: serving code may want .contiguous()")
    if any(a.names is not None for a in session.answers.values()):
        found.append("outputs are returned as a dict, which flashinfer-bench 0.1.2 refuses")
    return found


def _said(session: Session) -> list[str]:
    return session.said.splitlines()[-3:]
