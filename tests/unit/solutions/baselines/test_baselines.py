"""Baselines: one for every family, right over stand-ins of FlashInfer, fit for the real one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.isolation.calling import name_outputs  # noqa: E402
from kernelkit.bench.judge.compare import check_form, compare  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.tags import fi_api_of  # noqa: E402
from kernelkit.errors import FormatError  # noqa: E402
from kernelkit.ops import OP_TYPES, family  # noqa: E402
from kernelkit.solutions.baselines import make  # noqa: E402
from kernelkit.solutions.baselines.catalogue import BASELINES, serving  # noqa: E402
from kernelkit.solutions.check import report, target  # noqa: E402
from kernelkit.solutions.check.smoke_inputs import options, without_tokens  # noqa: E402

Load = Callable[[Solution], Any]
Inputs = dict[str, Any]
DRAWS = 40


def outputs_of(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """What the definition's own text gives."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    return name_outputs(scope["run"](*inputs.values()), list(definition.outputs))


def judged(module: Any, definition: Definition, inputs: Inputs, *, planned: bool) -> str:
    """How one call differs from the reference; empty if it does not. Inputs must stay."""
    before = {n: v.clone() for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    setup = getattr(module, "setup", None)
    if planned and setup:
        setup(*(inputs[name] for name in inspect.signature(setup).parameters))
    got = name_outputs(module.run(*inputs.values()), list(definition.outputs))
    changed = [n for n, v in before.items() if not same(v, inputs[n])]
    if changed:
        return f"writes {', '.join(changed)}"
    want = outputs_of(definition, inputs)
    if definition.op_type == "sampling":
        verdict = check_form(got, want)
    else:
        verdict = compare(got, want, family(definition.op_type).tolerance(definition))
    return "" if verdict.status.value == "PASSED" else f"{verdict.status}: {verdict.message}"


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors hold the same bytes."""
    return torch.equal(left.contiguous().view(torch.uint8), right.contiguous().view(torch.uint8))


def cases(definition: Definition) -> list[tuple[str, Inputs]]:
    """Ordinary inputs, the family's sharper ones, requests without tokens, None and 0."""
    op = family(definition.op_type)
    plain = op.make_inputs(definition, op.small_axes(definition), seed=3)
    rng = torch.Generator().manual_seed(4)
    found = [("plain", plain), *op.probes(definition, plain, rng)]
    if definition.op_type != "dsa_paged":
        found += without_tokens(plain)
    return [*found, *options(definition, plain)]


def test_every_family_has_a_baseline(small: Definition) -> None:
    made = make(small)
    assert made
    assert {solution.definition for solution in made} == {small.name}
    assert all(small.reference not in source.content for s in made for source in s.sources)


def test_the_definitions_cover_all_families_and_all_rows(smalls: list[Definition]) -> None:
    assert {definition.op_type for definition in smalls} == set(OP_TYPES)
    assert {b.source for d in smalls for b in serving(d)} == {b.source for b in BASELINES}


def test_another_api_than_the_tag_is_explained(small: Definition) -> None:
    for baseline in serving(small):
        assert baseline.why or fi_api_of(small.tags) in baseline.apis


def test_it_is_right(small: Definition, calls: list[Any], load: Load) -> None:
    for solution in make(small):
        for label, inputs in cases(small):
            for planned in (True, False):
                fault = judged(load(solution), small, inputs, planned=planned)
                assert not fault, f"{label}, setup called: {planned}: {fault}"


def test_a_plan_follows_tables_that_change_in_place(
    planned: Definition, calls: list[Any], load: Load
) -> None:
    """Without setup the contents count; an announced plan is taken as it is."""
    small, module = planned, load(make(planned)[0])
    op = family(small.op_type)
    inputs = op.make_inputs(small, op.small_axes(small), seed=3)
    changed = op.vary_indices(small, inputs, torch.Generator().manual_seed(1))
    assert judged(module, small, inputs, planned=False) == ""
    plans = sum(path.endswith(".plan") for path, _, _ in calls)
    assert judged(module, small, inputs, planned=False) == ""
    assert sum(path.endswith(".plan") for path, _, _ in calls) == plans == 1
    for name, value in changed.items():
        inputs[name].copy_(value)
    assert judged(module, small, inputs, planned=False) == ""
    assert sum(path.endswith(".plan") for path, _, _ in calls) == 2
    inputs["sm_scale"] = inputs["sm_scale"] * 2
    assert judged(module, small, inputs, planned=False) == ""
    assert judged(module, small, inputs, planned=True) == ""


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
def test_samples_are_of_the_support(kind: str, calls: list[Any], load: Load) -> None:
    op = family("sampling")
    definition = op.definition(kind, 40)
    inputs = op.make_inputs(definition, {"batch_size": 6}, seed=3)
    if "top_k" in inputs:
        inputs["top_k"][:3] = torch.tensor([0, -1, 41])  # filters nothing
    if "top_p" in inputs:
        inputs["top_p"][-2:] = torch.tensor([0.0, 1.5])
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    values, tokens = scope["filtered"](*inputs.values())
    allowed = [set(t[v > 0].tolist()) for v, t in zip(values, tokens, strict=True)]
    module = load(make(definition)[0])
    for _ in range(DRAWS):
        drawn = module.run(*inputs.values())
        assert drawn.dtype is torch.int64
        assert all(token in kept for token, kept in zip(drawn.tolist(), allowed, strict=True))


def test_calls_fit_the_installed_flashinfer(
    small: Definition, calls: list[Any], load: Load,
    signatures: dict[str, inspect.Signature | str],
) -> None:  # fmt: skip
    """The arguments of every call bind to the real signature."""
    pytest.importorskip("flashinfer", exc_type=ImportError)
    op = family(small.op_type)
    inputs = op.make_inputs(small, op.small_axes(small), seed=3)
    for solution in make(small):
        judged(load(solution), small, inputs, planned=True)
    if not calls:
        pytest.skip("calls nothing of FlashInfer")
    for path, args, kwargs in calls:
        signature = signatures[path]
        if isinstance(signature, str):
            pytest.skip(signature)
        signature.bind(*args, **kwargs)


def test_it_passes_the_checker(small: Definition, dataset: Dataset) -> None:
    dataset.write_definition(small)
    for solution in make(small):
        dataset.write_solution(solution, small)
    targets = [target.read(path) for path in target.find(dataset.root / "solutions")]
    found = [f for one in report.check_all(dataset, targets) for f in one.findings]
    assert [f for f in found if f.severity in ("error", "warning")] == []


def test_a_definition_with_other_inputs_is_refused() -> None:
    definition = family("rmsnorm").definition(64, 1e-6)
    renamed = {("x" if n == "hidden_states" else n): s for n, s in definition.inputs.items()}
    text = definition.reference.replace("hidden_states", "x")
    other = definition.model_copy(update={"inputs": renamed, "reference": text})
    with pytest.raises(FormatError, match="takes other inputs"):
        make(other)


def test_published_definitions_have_baselines(extra: Path) -> None:
    """The published signatures, whose inputs were written by others."""
    paths = sorted((extra / "data" / "definition_signatures").rglob("*.json"))
    assert len(paths) > 50
    for path in paths:
        document = {"reference": "def run():\n    pass\n", **json.loads(path.read_text())}
        assert make(Definition.model_validate(document)), path.stem


def test_another_authors_names_are_their_own() -> None:
    definition = family("gemm").definition(8, 8)
    names = {make(definition, author)[0].name for author in ("baseline", "me")}
    assert names == {"torch_gemm_n8_k8", "me_torch_gemm_n8_k8"}
