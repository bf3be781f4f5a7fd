"""What is returned, brought into the definition's form; and what the process said before."""

from __future__ import annotations

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.dataset.solution import BuildSpec
from kernelkit.solutions.doctor import forms, statuses
from kernelkit.solutions.doctor.process import Answer, Session

torch = pytest.importorskip("torch")

WANT = {"output": torch.ones(1, 3, 4), "lse": torch.ones(1, 3)}


def _answer(*values: torch.Tensor, names: list[str] | None = None) -> Answer:
    return Answer(
        outputs=[{"shape": list(v.shape)} for v in values], names=names, returned="tuple",
        tensors=dict(enumerate(values)),
    )  # fmt: skip


def test_what_is_right_stays() -> None:
    found, findings = forms.named(_answer(*WANT.values()), WANT)
    assert findings == [] and all(torch.equal(found[n], WANT[n]) for n in WANT)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ((torch.ones(3, 4), torch.ones(1, 3)), "squeezed-dimension"),
        ((torch.ones(1, 3, 4, 1), torch.ones(1, 3)), "extra-dimension"),
        ((torch.ones(1, 4, 3), torch.ones(1, 3)), "output-transposed"),
        ((torch.ones(1, 12), torch.ones(1, 3)), "wrong-shape"),
        ((torch.ones(1, 3, 4).half(), torch.ones(1, 3)), "wrong-dtype"),
        ((torch.ones(1, 3), torch.ones(1, 3, 4)), "outputs-in-wrong-order"),
    ],
)
def test_the_form_is_mended_and_named(values: tuple[torch.Tensor, ...], cause: str) -> None:
    found, findings = forms.named(_answer(*values), WANT)
    assert [f.cause for f in findings] == [cause]
    assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in WANT.items()}
    assert all(found[n].dtype == WANT[n].dtype for n in WANT)


def test_what_cannot_be_mended_is_left_out() -> None:
    found, findings = forms.named(_answer(torch.ones(2, 2), torch.ones(1, 3)), WANT)
    assert list(found) == ["lse"] and [f.cause for f in findings] == ["wrong-shape"]
    found, findings = forms.named(_answer(torch.ones(1, 3, 4)), WANT)
    assert list(found) == ["output"] and [f.cause for f in findings] == ["wrong-number-of-outputs"]
    found, findings = forms.named(_answer(*WANT.values(), names=["out", "lse"]), WANT)
    assert found == {} and [f.cause for f in findings] == ["outputs-misnamed"]
    found, findings = forms.named(Answer(outputs=[{"type": "float"}]), WANT)
    assert found == {} and [f.cause for f in findings] == ["output-is-no-tensor"]


def _spec(*, passing: bool) -> BuildSpec:
    return BuildSpec(
        language="python", target_hardware=["cpu"], entry_point="main.py::run",
        destination_passing_style=passing,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "passing", "causes"),
    [
        (["A", "B"], False, []),
        (["A", "B", "C"], True, []),
        (["A", "B", "C"], False, ["destination-passing-flag"]),
        (["A", "B"], True, ["destination-passing-flag"]),
        (["A"], False, ["wrong-number-of-arguments"]),
    ],
)
def test_parameters_against_arguments(names: list[str], passing: bool, causes: list[str]) -> None:
    raised = Answer(error="TypeError: run() takes 1 positional argument", kind="TypeError")
    session = Session(answers={"small": raised}, parameters=names)
    found = statuses.argument_findings(session, DEFINITIONS["gemm"](), _spec(passing=passing))
    assert [f.cause for f in found] == causes


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("ModuleNotFoundError", "module-not-found"),
        ("SyntaxError", "syntax-error"),
        ("ValueError", "does-not-load"),
    ],
)
def test_why_it_does_not_load(kind: str, cause: str) -> None:
    session = Session(load_error=f"{kind}: something", load_kind=kind)
    assert [f.cause for f in statuses.load_findings(session)] == [cause]


def test_a_call_that_raises_in_some_cases_only() -> None:
    bad = Answer(error="main.py:3: x[9]\nIndexError: out of range", kind="IndexError")
    session = Session(answers={"small": Answer(), "more": bad})
    (finding,) = statuses.call_findings(session, [])
    assert finding.cause == "index-out-of-bounds"
    assert "raised in: more" in finding.evidence and "not raised in: small" in finding.evidence
    only_one = Session(answers={"small": Answer(), "single": bad})
    assert [f.cause for f in statuses.call_findings(only_one, [])] == ["fails-at-one-row"]


def test_the_call_in_which_the_process_ended() -> None:
    session = Session(ended="no end after 5 s", during="more")
    (finding,) = statuses.call_findings(session, [])
    assert finding.cause == "no-end" and "'more'" in finding.meaning
