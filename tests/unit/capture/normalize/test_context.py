"""Records of calls: written, read back, and read as facts; bad lines hide no good ones."""

from __future__ import annotations

from pathlib import Path

import dumps
import pytest

from kernelkit.capture.normalize import context, pairing
from kernelkit.capture.normalize.context import CallContext
from kernelkit.errors import UsageError


def test_a_line_is_read_back(tmp_path: Path) -> None:
    call = CallContext.model_validate({
        "api": dumps.DECODE, "dump": "x",
        "tensors": {"q": {"shape": [3, 32, 128], "dtype": "bfloat16"}},
        "plan": {"window_left": -1}, "model": "m", "tp": 2,
    })  # fmt: skip
    path = tmp_path / "context.jsonl"
    path.write_text(
        context.write_line(call) + '{"api": 3}\n\n{"schema_version": 2, "api": "a"}\n{"ap'
    )
    lines = list(context.read(path))
    assert [line.number for line in lines] == [1, 2, 4, 5]
    assert lines[0].call is not None
    assert lines[0].call.known() == call.known()
    assert (lines[0].call.model, lines[0].call.tp, lines[0].call.dump) == ("m", 2, "x")
    assert [line.call is None for line in lines] == [False, True, True, True]
    assert all(line.error for line in lines[1:])


def test_an_absent_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(context.read(tmp_path / "no.jsonl"))


def test_facts_follow_from_arguments_and_are_overruled_by_given_ones() -> None:
    flat = {"shape": [90, 8, 128], "dtype": "bfloat16"}
    call = CallContext.model_validate({
        "api": dumps.PREFILL, "tensors": {"paged_kv_cache.0": flat, "paged_kv_cache.1": flat},
        "plan": {"kv_layout": "NHD", "causal": True, "window_left": 4095, "logits_soft_cap": 30.0},
        "facts": {"causal": False},
    })  # fmt: skip
    known = call.known()
    assert (known.kv_rank, known.num_kv_heads, known.page_size) == (3, 8, 1)
    assert (known.stage, known.v_head_dim, known.causal) == ("prefill", 128, False)
    assert (known.window_left, known.logits_soft_cap) == (4095, 30.0)


def test_a_call_argument_goes_before_the_plans() -> None:
    call = CallContext(api=dumps.RAGGED, scalars={"causal": False}, plan={"causal": True})
    assert call.known().causal is False


def test_calls_find_their_dump_by_name_or_by_sizes() -> None:
    raw = dumps.rmsnorm(4096)
    shape = {"shape": [7, 4096], "dtype": "bfloat16"}
    named = CallContext(api=raw.api, dump=raw.name)
    sized = CallContext.model_validate(
        {"api": raw.api, "tensors": {"input": shape}, "scalars": {"eps": 1e-5}}
    )
    other = CallContext.model_validate(
        {"api": raw.api, "tensors": {"input": {**shape, "shape": [7, 64]}}}
    )
    wrong = CallContext(api=dumps.DECODE, dump=raw.name)
    assert pairing.calls_of(raw, [named, sized, other, wrong, named]) == [named, sized]
    assert list(pairing.unused([raw], [named, other, wrong])) == [other, wrong]
