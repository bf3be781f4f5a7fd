"""Steps that are like others before cost next to nothing, and nothing new among them is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")


from kernelkit.capture.recorder import steps, wrapping  # noqa: E402
from kernelkit.capture.recorder.observer import Observer  # noqa: E402
from kernelkit.capture.recorder.settings import Settings  # noqa: E402

from .conftest import Taker  # noqa: E402

LAYERS = 3


class Wrapper:
    """What FlashInfer's planned wrappers are to the recorder."""

    _causal = True

    def plan(self, indptr: Any) -> None:
        """Nothing."""

    def run(self, q: Any) -> str:
        """What came of it."""
        return "run"


class Model:
    """Decode steps of a toy model whose calls are observed."""

    def __init__(self, **settings: Any) -> None:
        self.taker = Taker()
        self.watching = Observer(Settings("unused", **settings), self.taker)
        self.norm = self._observed(lambda x: "norm", "norm")
        self.draw = self._observed(lambda top_k: "draw", "draw")
        self.plan = self._observed(Wrapper.plan, "W", "plan")
        self.run = self._observed(Wrapper.run, "W", "run")
        self.wrapper = Wrapper()

    def _observed(self, function: Any, name: str, method: str = "") -> Any:
        return wrapping._observed(self.watching, function, f"flashinfer.x.{name}", method)

    def step(self, rows: int = 2, length: int = 1, dim: int = 8) -> None:
        """One forward pass; `length` is told by the plan alone."""
        steps.HERE.step += 1
        steps.HERE.form = ("DECODE", (rows,), rows)
        self.plan(self.wrapper, torch.arange(length, dtype=torch.int32))
        for _ in range(LAYERS):
            assert self.norm(torch.zeros(rows, dim)) == "norm"
            assert self.run(self.wrapper, torch.zeros(rows, dim)) == "run"
        self.draw(torch.zeros(rows, dtype=torch.int32))

    def written(self) -> Counter[str]:
        """Entries by API."""
        return Counter(f"{e.api.path[13:]}.{e.api.method}".strip(".") for e in self.taker.entries)

    def calls(self, name: str) -> int:
        """Entries of an API and their repeats."""
        serials = {e.serial for e in self.taker.entries if e.api.path.endswith(name)}
        return len(serials) + sum(self.watching.repeats[serial] for serial in serials)


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    steps.HERE.__init__()  # type: ignore[misc]
    yield
    steps.HERE.__init__()  # type: ignore[misc]


def test_a_settled_step_is_counted_and_gives_its_contents() -> None:
    model = Model()
    for length in range(1, 11):
        model.step(length=length)
    assert model.watching._settling.settled
    # A plan and a draw of each step, the first run after each plan, one norm of all.
    assert model.written() == {"W.plan": 10, "W.run": 10, "draw": 10, "norm": 1}
    assert model.calls("norm") == 10 * LAYERS
    assert model.calls("W") == 10 * (LAYERS + 1)


def test_a_settled_step_does_not_look_at_functions_without_index_tensors() -> None:
    model = Model()
    for _ in range(4):
        model.step()
    seen = []
    model.watching._before = lambda api, *rest: seen.append(api.path[13:])  # type: ignore
    model.step()
    assert seen == ["W", "draw"]  # the plan; runs are those of the plan that is known


def test_other_shapes_of_a_step_are_looked_at() -> None:
    model = Model()
    for _ in range(5):
        model.step(rows=2)
    model.step(rows=5)
    shapes = [e.arguments["x"]["t"][0] for e in model.taker.entries if e.api.path.endswith("norm")]
    assert shapes == [[2, 8], [5, 8]]


def test_a_form_settles_only_when_nothing_new_comes_of_it() -> None:
    model = Model()
    for dim in (8, 9, 10, 11, 12):
        model.step(dim=dim)
    assert not model.watching._settling.settled
    assert model.written()["norm"] == 5


def test_runs_that_differ_after_one_plan_are_all_looked_at() -> None:
    model = Model()
    for _ in range(6):
        model.step()
        model.run(model.wrapper, torch.zeros(2, 9))  # a layer of another size
    assert model.written()["W.run"] == 12


def test_steps_of_unknown_form_never_settle() -> None:
    model = Model()
    for _ in range(6):
        model.step()
        steps.HERE.form = None
    steps.HERE.form = None
    steps.HERE.step += 1
    model.norm(torch.zeros(2, 8))
    assert not model.watching._settling.settled


def test_a_long_row_of_like_steps_is_thinned_and_said() -> None:
    model = Model(keep_steps=4, then_every=4)
    for length in range(1, 31):
        model.step(length=length)
    kept = [e.tensors["indptr"].shape[0] for e in model.taker.entries if "indptr" in e.tensors]
    assert kept == [*range(1, 8), 8, 12, 16, 20, 24, 28]
    assert model.written() == {"W.plan": 13, "W.run": 13, "draw": 13, "norm": 1}
    assert dict(model.watching.skipped) == {"thinned": 2 * 17}
    assert model.calls("norm") == 30 * LAYERS


def test_a_run_whose_plan_was_thinned_says_nothing() -> None:
    model = Model(keep_steps=0, then_every=3)
    for length in range(1, 5):
        model.step(length=length)  # the last one is thinned
    runs = model.written()["W.run"]
    steps.HERE.step += 1  # planned ahead of the step, in the one before
    model.run(model.wrapper, torch.zeros(2, 8))
    assert model.written()["W.run"] == runs


def test_the_form_of_a_step_is_read_from_sglang_s_batch() -> None:
    class ModelRunner:
        def forward(self, forward_batch: Any) -> Any:
            return steps.HERE.form

    steps.follow(SimpleNamespace(ModelRunner=ModelRunner))  # type: ignore[arg-type]
    batch = SimpleNamespace(forward_mode=SimpleNamespace(name="DECODE"), batch_size=3,
                            input_ids=torch.zeros(3))  # fmt: skip
    assert ModelRunner().forward(batch) == ("DECODE", (3,), 3)
    assert ModelRunner().forward(SimpleNamespace(forward_mode=None)) is None
