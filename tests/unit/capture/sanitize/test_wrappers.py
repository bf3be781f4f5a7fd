"""Planned attention: each run with its own plan, each axis proven, page tables cut and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelkit.capture.sanitize import calls, level10
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, Unusable
from kernelkit.capture.sanitize.observed import Observed
from kernelkit.capture.sanitize.pairing import paired

from .conftest import DECODE, PREFILL, Dump, Float


def _paired(root: Path) -> list[Call | Unusable]:
    return list(paired(level10.read_calls(level10.look(root).folders, root)))


def _read(root: Path, *, strict: bool = True) -> list[Observed]:
    """What every call that computes says; raises Unusable for the first that says nothing."""
    found = []
    for item in _paired(root):
        if isinstance(item, Unusable):
            raise item
        if item.method == APIS[item.api].method:
            found.append(APIS[item.api].read(item, strict))
    return found


def _refused(root: Path) -> tuple[str, str]:
    with pytest.raises(Unusable) as caught:
        _read(root)
    return caught.value.kind, caught.value.detail


def test_interleaved_wrappers_keep_their_plans(dump: Dump) -> None:
    dump.plan([0, 5], wrapper=1)
    dump.plan([0, 3, 9], wrapper=2)
    dump.run(1, wrapper=1)
    dump.run(2, wrapper=2)
    dump.run(1, wrapper=1)
    found = [item.inputs["kv_indptr"].array.tolist() for item in _read(dump.root)]
    assert found == [[0, 5], [0, 3, 9], [0, 5]]


def test_wrappers_of_two_processes_with_one_id(dump: Dump) -> None:
    dump.plan([0, 5], pid=1)
    dump.plan([0, 6], pid=2)
    dump.run(1, pid=1)
    dump.run(1, pid=2)
    assert [i.inputs["kv_indptr"].array[-1] for i in _read(dump.root)] == [5, 6]


def test_a_new_object_with_an_old_id_has_no_plan(dump: Dump) -> None:
    dump.plan([0, 5])
    dump.run(1)
    dump.call(f"{DECODE}.__init__", Float((64,), "uint8"), wrapper=7)
    dump.run(1)
    last = _paired(dump.root)[-1]
    assert isinstance(last, Unusable) and last.kind == calls.NO_PLAN


def test_a_cuda_graph_subclass_counts_as_its_base(dump: Dump) -> None:
    for folder in (dump.plan([0, 5]), dump.run(1)):
        path = folder / "metadata.jsonl"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"BatchDecode', '"CUDAGraphBatchDecode'), encoding="utf-8")
    assert len(_read(dump.root)) == 1


def test_plans_behind_the_limit_of_calls_are_decode_steps(dump: Dump) -> None:
    dump.plan([0, 5, 9])
    dump.run(2)
    dump.plan([0, 6, 10])
    dump.plan([0, 7, 11, 12])
    found = _read(dump.root)
    assert [item.inputs["kv_indptr"].array[-1] for item in found] == [9, 10, 12]
    assert found[-1].inputs["q"].shape == (3, 32, 128)
    assert found[-1].inputs["k_cache"].shape == (2049, 1, 8, 128)
    assert found[0].notes == () != found[-1].notes


def test_a_plan_without_any_run_shows_no_pool(dump: Dump) -> None:
    dump.plan([0, 5, 9])
    (item,) = _paired(dump.root)
    assert isinstance(item, Unusable) and item.kind == calls.NO_RUN


def test_over_allocated_indices_are_cut_and_the_pool_gives_num_pages(dump: Dump) -> None:
    dump.plan([0, 3, 5], indices=[9, 4, 7, 1, 2], spare=40)
    dump.run(2)
    (found,) = _read(dump.root)
    assert found.inputs["kv_indices"].array.tolist() == [9, 4, 7, 1, 2]
    assert found.inputs["k_cache"].shape[0] == 2049


@pytest.mark.parametrize(
    ("pool", "page_size", "expected"),
    [
        ((2049, 8, 128), 1, (2049, 1, 8, 128)),
        ((65, 64, 8, 128), 64, (65, 64, 8, 128)),
        ((65, 8, 64, 128), 64, (65, 64, 8, 128)),  # HND, told by the plan's sizes
        (Float((65, 2, 64, 8, 128)), 64, (65, 64, 8, 128)),
        (Float((2049, 2, 8, 128)), 1, (2049, 1, 8, 128)),
    ],
)
def test_every_layout_of_a_pool(dump: Dump, pool: Any, page_size: int, expected: Any) -> None:
    dump.plan([0, 3, 5], page_size=page_size)
    dump.run(2, pool=pool)
    (found,) = _read(dump.root)
    assert found.inputs["k_cache"].shape == found.inputs["v_cache"].shape == expected


def test_the_layout_that_the_wrapper_was_made_with(dump: Dump) -> None:
    """8 heads, 8 tokens a page: the sizes alone do not tell."""
    dump.call(f"{DECODE}.__init__", Float((64,), "uint8"), "HND", wrapper=7)
    dump.plan([0, 3, 5], page_size=8)
    dump.run(2, pool=(65, 8, 8, 128))
    (found,) = _read(dump.root)
    assert found.inputs["k_cache"].source is None  # heads and tokens are not in the input's order


@pytest.mark.parametrize(
    ("plan", "run", "what"),
    [
        ({"heads": 28}, {}, "query heads"),
        ({"kv": 4}, {}, "KV heads"),
        ({"page_size": 64}, {}, "page size"),
        ({}, {"pool": (2049, 8, 64)}, "head dim of the pool"),
        ({}, {"pool": (2049, 3, 8, 128)}, "page size"),
        ({}, {"pool": (8, 128)}, "KV pool"),
        ({}, {"requests": 3}, "requests"),
    ],
)
def test_plan_and_tensors_must_agree(
    dump: Dump, plan: dict[str, Any], run: dict[str, Any], what: str
) -> None:
    dump.plan([0, 3, 5], **plan)
    dump.run(**{"requests": 2, **run})
    kind, detail = _refused(dump.root)
    assert kind == calls.CONTRADICTION
    assert what in detail


def test_the_check_of_axes_can_be_skipped(dump: Dump) -> None:
    dump.plan([0, 3, 5], kv=4)
    dump.run(2)
    (found,) = _read(dump.root, strict=False)
    assert found.inputs["k_cache"].shape[2] == 8


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"indptr": [0, 3, 5], "indices": [1, 2, 3, 4, 2049]}, calls.BAD_INDEX),
        ({"indptr": [0, 3, 5], "indices": [1, 2, 3, 4, -1]}, calls.BAD_INDEX),
        ({"indptr": [0, 3, 5], "indices": [1, 2, 3, 4]}, calls.BAD_INDEX),
        ({"indptr": [0, 3, 5], "last": [1, 2]}, calls.BAD_INDEX),
        ({"indptr": [1, 3, 5]}, calls.BAD_OFFSETS),
        ({"indptr": [0, 5, 3]}, calls.BAD_OFFSETS),
        ({"indptr": [0]}, calls.EMPTY),
    ],
)
def test_wrong_page_tables(dump: Dump, options: dict[str, Any], kind: str) -> None:
    dump.plan(**options)
    dump.run(len(options["indptr"]) - 1)
    assert _refused(dump.root)[0] == kind


def test_nan_in_indices(dump: Dump) -> None:
    nan = np.array([1, np.nan, 3], np.float32)
    one = np.array([0, 3], np.int32), nan, np.array([1], np.int32)
    dump.call(f"{DECODE}.plan", *one, 32, 8, 128, 1, wrapper=7)
    dump.run(1)
    assert _refused(dump.root)[0] == calls.NAN


def test_wide_indices_become_the_definitions_type(dump: Dump) -> None:
    one = (np.array(v, np.int64) for v in ([0, 3], [1, 2, 3], [1]))
    dump.call(f"{DECODE}.plan", *one, 32, 8, 128, 1, wrapper=7)
    dump.run(1)
    (found,) = _read(dump.root)
    assert found.inputs["kv_indices"].dtype == "int32"


def test_last_page_of_an_empty_request_counts_nothing(dump: Dump) -> None:
    dump.plan([0, 2, 2], page_size=64, last=[17, 64], indices=[3, 4])
    dump.run(2, pool=(65, 64, 8, 128))
    (found,) = _read(dump.root)
    assert found.inputs["kv_last_page_len"].array.tolist() == [17, 0]


@pytest.mark.parametrize(
    "argument",
    [{"window_left": 2}, {"logits_soft_cap": 30.0}, {"pos_encoding_mode": "ROPE_LLAMA"}],
)
def test_what_no_definition_computes(dump: Dump, argument: dict[str, Any]) -> None:
    one = (np.array(v, np.int32) for v in ([0, 4], [1, 2, 3, 4], [1]))
    dump.call(f"{DECODE}.plan", *one, 32, 8, 128, 1, argument, wrapper=7)
    dump.run(1)
    kind, detail = _refused(dump.root)
    assert kind == calls.OTHER_SEMANTICS
    assert next(iter(argument)) in detail


def test_a_window_that_hides_nothing_is_none(dump: Dump) -> None:
    one = (np.array(v, np.int32) for v in ([0, 4], [1, 2, 3, 4], [1]))
    dump.call(f"{DECODE}.plan", *one, 32, 8, 128, 1, {"window_left": 4095}, wrapper=7)
    dump.run(1)
    assert len(_read(dump.root)) == 1


def test_scale_is_assumed_only_where_no_record_has_it(dump: Dump) -> None:
    dump.plan([0, 4])
    dump.run(1)
    (item,) = _paired(dump.root)
    assert isinstance(item, Call)
    read = APIS[item.api].read
    assert read(item, True).assumed == ("sm_scale",)
    assert read(item, True).inputs["sm_scale"] == pytest.approx(128**-0.5)
    item.attributes["sm_scale"] = 0.5
    assert (read(item, True).assumed, read(item, True).inputs["sm_scale"]) == ((), 0.5)


@pytest.mark.parametrize(
    ("plan", "run", "attributes", "causal", "assumed"),
    [
        ({}, {}, {}, True, True),
        ({}, {"return_lse": True}, {}, False, True),  # the part over a cached prefix
        ({"causal": True}, {"return_lse": True}, {}, True, False),
        ({}, {}, {"causal": False}, False, False),
    ],
)
def test_causal_prefill(
    dump: Dump, plan: dict[str, Any], run: dict[str, Any], attributes: dict[str, Any],
    causal: bool, assumed: bool,
) -> None:  # fmt: skip
    tables = (np.array(v, np.int32) for v in ([0, 2, 3], [0, 4, 6], range(1, 7), [1, 1]))
    dump.call(f"{PREFILL}.plan", *tables, 32, 8, 128, 1, plan, wrapper=7)
    pool = Float((33, 8, 128)), Float((33, 8, 128))
    dump.call(f"{PREFILL}.run", Float((3, 32, 128)), pool, run, wrapper=7)
    (item,) = _paired(dump.root)
    assert isinstance(item, Call)
    item.attributes.update(attributes)
    found = APIS[item.api].read(item, True)
    assert found.facts["causal"] is causal
    assert ("causal" in found.assumed) is assumed
