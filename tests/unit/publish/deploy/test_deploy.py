"""Deployments: which solution is chosen for which call, and why no other."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from deployable import DEVICE, NORM, measured, single, solution  # noqa: E402

from kernelkit.bench.selection import key  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.publish.deploy.choosing import Choice, calls_flashinfer, choose  # noqa: E402
from kernelkit.publish.deploy.routes import Route, route_of  # noqa: E402


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """A norm with two workloads and solutions good, fast but wrong, slow, and of FlashInfer."""
    dataset.write_definition(NORM)
    both = {"a": "PASSED", "b": "PASSED"}
    measured(dataset, solution(NORM, "good"), both, 0.5)
    measured(dataset, solution(NORM, "slow"), both, 0.9)
    wrong = {"a": "PASSED", "b": "RUNTIME_ERROR"}
    measured(dataset, solution(NORM, "wrong"), wrong, 0.1)
    wrapper = solution(NORM, "wrapper").model_dump(mode="json")
    wrapper["sources"][1]["content"] = "import flashinfer.norm\n" + NORM.reference
    measured(dataset, Solution.model_validate(wrapper), both, 0.2)
    return dataset


def chosen(dataset: Dataset, **options: Any) -> Choice:
    """The one choice of a dataset with one definition."""
    (found,) = choose(dataset, list(dataset.definitions().values()), **options)
    return found


def test_the_fastest_that_is_right_everywhere(filled: Dataset) -> None:
    found = chosen(filled)
    assert found.solution.name == "good" and found.score.hardware == DEVICE
    assert found.passed_over == (
        "wrapper: it calls FlashInfer, and would be handed its own call",
        "wrong: passed 1 of 2 workloads",
    )
    assert chosen(filled, solutions=["slow"]).solution.name == "slow"
    assert chosen(filled, solutions=["wrong"]).solution is None


def test_traces_of_other_sources_do_not_count(filled: Dataset) -> None:
    made = solution(NORM, "newer")
    both = {"a": "PASSED", "b": "PASSED"}
    measured(filled, made, both, 0.01, log="solution sha256:0123456789abcdef on cuda")
    assert chosen(filled).solution.name == "good"
    assert "newer: its sources changed after it was measured" in chosen(filled).passed_over
    measured(filled, made, both, 0.01, log=f"solution sha256:{key(made)} on cuda")
    assert chosen(filled).solution.name == "newer"


def test_one_device_counts(filled: Dataset) -> None:
    both = {"a": "PASSED", "b": "PASSED"}
    measured(filled, solution(NORM, "other"), both, 0.1, hardware="NVIDIA B200")
    with pytest.raises(UsageError, match="several devices"):
        chosen(filled)
    assert chosen(filled, hardware="b200").solution.name == "other"
    assert chosen(filled, hardware="h200").solution.name == "good"
    with pytest.raises(UsageError, match="no one device"):
        chosen(filled, hardware="NVIDIA")


def test_compiled_languages_are_left_out(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    made = single(NORM, "k.cu", "// nothing", language="cuda")
    measured(dataset, made, {"a": "PASSED"}, 0.5)
    assert "hands a cuda solution other arguments" in chosen(dataset).reason


def test_two_definitions_of_one_live_name(dataset: Dataset) -> None:
    other = NORM.model_copy(update={"name": "rmsnorm_h64_eps1e-5"})
    for definition in (NORM, other):
        dataset.write_definition(definition)
        measured(dataset, solution(definition, f"s_{definition.name}"), {"a": "PASSED"}, 0.5)
    found = choose(dataset, [NORM, other])
    assert [c.solution for c in found] == [None, None]
    assert "rmsnorm_h64_eps1e-5; name one with --definitions" in found[0].reason
    assert choose(dataset, [other])[0].route.live == "rmsnorm_h64"


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("import flashinfer", True),
        ("from flashinfer.norm import rmsnorm", True),
        ("import importlib\nx = importlib.import_module('flashinfer.norm')", True),
        ("'''as flashinfer does it'''\nimport flashinfer_like", False),
        ("from .flashinfer import x", False),
    ],
)
def test_who_calls_flashinfer(text: str, calls: bool) -> None:
    document = solution(NORM).model_dump(mode="json")
    document["sources"][1]["content"] = f"{text}\n{NORM.reference}"
    assert calls_flashinfer(Solution.model_validate(document)) is calls


@pytest.mark.parametrize(
    "definition",
    [
        family("gqa_paged").definition(4, 2, 16, 64, prefill=False),
        family("mla_paged").definition(4, 32, 16, 1, prefill=True),
        family("rmsnorm").definition(64, 1e-6, fused=True, gemma=True),
        family("gemm").definition(8, 8),
        family("rope").definition(16, 8),
        family("gdn").definition(2, 4, 16, stage="decode"),
    ],
    ids=lambda definition: definition.name,
)
def test_calls_that_a_name_does_not_determine(definition: Definition) -> None:
    assert isinstance(route_of(definition), str)


def test_what_the_name_does_not_show_is_said() -> None:
    route = route_of(NORM)
    assert isinstance(route, Route) and "eps=1e-06" in route.assumes
