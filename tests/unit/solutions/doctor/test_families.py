"""The families' formulas: without a mistake the reference's result, and each mistake shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from planted_solutions import DEFINITIONS

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor import cases
from kernelkit.solutions.doctor.mutant import model_of
from kernelkit.solutions.doctor.observe import observe

NAMES = [name for name in DEFINITIONS if not name.startswith("sampling")]
# Mistakes that these inputs do not show: a scale that is the right one here, and a mask of zero
# where all scores are positive.
HIDDEN = {"sm-scale-1-sqrt-16", "sm-scale-1-sqrt-24", "group-mask-zero"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors only wait for a second one."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _with_reference(definition: Definition) -> list[cases.Case]:
    from kernelkit.bench.judge.reference import Reference

    reference = Reference(definition, 1 << 30)
    found = list(cases.small_cases(definition, {}, "cpu"))
    for case in found:
        case.want = reference.call(case.inputs)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_formula_and_mistakes(name: str) -> None:
    definition = DEFINITIONS[name]()
    model, examined = model_of(definition), _with_reference(definition)
    assert model is not None
    mutants = model.mutants(definition)
    shown = {mutant: False for mutant in mutants}
    for case in examined:
        _, text = observe(definition, case, model.run(definition, case.inputs))
        assert text == "passed", case.name
        for mutant in (m for m, seen in shown.items() if not seen):
            found = model.run(definition, case.inputs, **mutant.knobs)
            shown[mutant] = observe(definition, case, found)[1] != "passed"
    assert {m.cause for m, seen in shown.items() if not seen} <= HIDDEN
    assert all(m.meaning and m.change and m.knobs for m in mutants)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_over_rows(name: str) -> None:
    definition = DEFINITIONS[name]()
    model = model_of(definition)
    assert model is not None
    case = next(cases.small_cases(definition, {}, "cpu"))
    for label, mask in model.groups(definition, case.inputs).items():
        assert mask.dim() == 1 and str(mask.dtype) == "torch.bool", label


def test_two_mistakes_at_one_knob_cannot_be_at_once() -> None:
    first, *_, last = model_of(DEFINITIONS["rope_neox"]()).mutants(DEFINITIONS["rope_neox"]())
    assert first.with_other(first) is None
    both = first.with_other(last)
    assert both is not None and both.cause == f"{first.cause} and {last.cause}"
    assert {**first.knobs, **last.knobs} == both.knobs


def test_an_unknown_op_type_has_no_formula() -> None:
    changed = DEFINITIONS["gemm"]().model_copy(update={"op_type": "convolution"})
    assert model_of(changed) is None
