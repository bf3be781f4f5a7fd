"""Templates that no family stands for: interface, reference, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dumps
import pytest
from dumps import dump

torch = pytest.importorskip("torch")

from kernelkit.capture.normalize.normalizer import run_all  # noqa: E402
from kernelkit.capture.normalize.outcome import Normalized  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402

HEAD = "import torch\nimport math\n\n"
ROWS = ("rows size", "float32")


def made(raw: dumps.RawDump, **more: Any) -> Definition:
    """The definition; fails with the refusal's text."""
    result = dumps.one(raw, **more)
    assert result.refusal is None, str(result.refusal)
    assert result.definition is not None
    return result.definition


def refused(raw: dumps.RawDump, **more: Any) -> str:
    result = dumps.one(raw, **more)
    assert result.refusal is not None
    return result.refusal.code


def run(definition: Definition, *inputs: Any) -> Any:
    scope: dict[str, Any] = {}
    exec(definition.reference, scope)
    return scope["run"](*inputs)


def test_the_last_function_becomes_run_and_helpers_stay() -> None:
    text = HEAD + (
        "def _inner_reference(x):\n    return x * 2\n\n\n"
        "@torch.no_grad()\ndef _main_reference(x):\n    return _inner_reference(x) + 1\n"
    )
    raw = dump("thing_s4", "flashinfer.x.thing", {"size": 4}, {"x": ROWS}, {"y": ROWS}, text,
               variables=("rows",))  # fmt: skip
    definition = made(raw)
    assert "def _inner_reference(x)" in definition.reference
    assert "def run(x)" in definition.reference
    assert definition.reference.count("def ") == 2
    assert torch.equal(run(definition, torch.ones(2, 4)), torch.full((2, 4), 3.0))
    assert definition.tags[:1] == ["fi_api:flashinfer.x.thing"]
    assert "status:unverified" in definition.tags
    assert "status:verified" not in definition.tags
    assert "init" not in definition.to_json()


def test_in_place_routing_keeps_its_outputs() -> None:
    text = HEAD + (
        "def _route_reference(scores, topk, n_group: int, values, indices, **_unused) -> None:\n"
        "    v, i = scores.topk(topk, dim=-1)\n"
        "    values.copy_(v.to(values.dtype) * n_group)\n"
        "    indices.copy_(i.to(indices.dtype))\n"
    )
    inputs = {"scores": ("rows size", "float32"), "topk": (None, "int32"),
              "n_group": (None, "int32"), "values": ("rows topk", "float32"),
              "indices": ("rows topk", "int32")}  # fmt: skip
    outputs = {"values": ("rows topk", "float32"), "indices": ("rows topk", "int32")}
    raw = dump("route_e8_k2", "flashinfer.fused_moe.fused_routing.route", {"size": 8, "topk": 2},
               inputs, outputs, text, variables=("rows",))  # fmt: skip
    definition = made(raw)
    assert list(definition.inputs) == ["scores", "n_group"]
    assert list(definition.outputs) == ["values", "indices"]
    scores = torch.arange(16.0).reshape(2, 8)
    values, indices = run(definition, scores, 3)
    assert values.tolist() == [[21.0, 18.0], [45.0, 42.0]]
    assert indices.dtype == torch.int32
    assert indices.tolist() == [[7, 6], [7, 6]]


def test_an_input_that_is_read_and_written_is_kept_unchanged() -> None:
    text = HEAD + "def _ref(v, other):\n    v.add_(other)\n"
    raw = dump("merge_s4", "flashinfer.x.merge", {"size": 4}, {"v": ROWS, "other": ROWS},
               {"v": ROWS}, text, variables=("rows",))  # fmt: skip
    definition = made(raw)
    assert list(definition.inputs) == ["v", "other"]
    assert list(definition.outputs) == ["v_out"]
    v = torch.ones(2, 4)
    assert torch.equal(run(definition, v, v), torch.full((2, 4), 2.0))
    assert torch.equal(v, torch.ones(2, 4))


def test_an_overlap_is_dropped_only_where_another_output_remains() -> None:
    text = HEAD + "def _ref(x, residual):\n    return x + residual\n"
    raw = dump("add_s4", "flashinfer.x.add", {"size": 4}, {"x": ROWS, "residual": ROWS},
               {"y": ROWS, "residual": ROWS}, text, variables=("rows",))  # fmt: skip
    assert list(made(raw).outputs) == ["y"]


def test_bytes_travel_in_a_type_of_the_format() -> None:
    text = HEAD + "def _ref(packed):\n    return packed >> 4\n"
    byte = ("rows size", "uint8")
    raw = dump("nibbles_s4", "flashinfer.x.nibbles", {"size": 4}, {"packed": byte},
               {"high": byte}, text, variables=("rows",))  # fmt: skip
    definition = made(raw)
    assert definition.inputs["packed"].dtype.value == "int8"
    high = run(
        definition, torch.tensor([[0xF1, 0x10, 0x7F, 0x80]], dtype=torch.uint8).view(torch.int8)
    )
    assert high.dtype == torch.int8
    assert high.tolist() == [[15, 1, 7, 8]]  # of a signed byte it would be -1


def test_flags_words_and_keyword_arguments() -> None:
    text = HEAD + (
        "def _ref(x, scale, *, enable_pdl, mode='a', size=None):\n"
        "    assert mode == 'a' and size == 4\n    return x * scale\n"
    )
    inputs = {"x": ROWS, "scale": (None, "float64"), "enable_pdl": (None, "bool"),
              "mode": (None, "string"), "size": (None, "int32")}  # fmt: skip
    raw = dump("scaled_s4", "flashinfer.x.scaled", {"size": 4}, inputs, {"y": ROWS}, text,
               variables=("rows",))  # fmt: skip
    definition = made(raw)
    assert [(n, s.dtype.value) for n, s in definition.inputs.items()] == [
        ("x", "float32"), ("scale", "float32"),
    ]  # fmt: skip
    assert torch.equal(run(definition, torch.ones(1, 4), 2.0), torch.full((1, 4), 2.0))


def test_recorded_arguments_are_fixed_and_told_apart() -> None:
    text = (
        HEAD + "def _ref(x, times: int, twice: bool = False):\n    return x * times * (1 + twice)\n"
    )
    inputs = {"x": ROWS, "times": (None, "int32"), "twice": (None, "bool")}
    raw = dump("times_s4", "flashinfer.x.times", {"size": 4}, inputs, {"y": ROWS}, text,
               variables=("rows",))  # fmt: skip
    assert list(made(raw).inputs) == ["x", "times"]
    flags = [_of_calls(raw, {"times": 2, "twice": twice}) for twice in (False, True)]
    assert [len(found) for found in flags] == [1, 1]
    both = _of_calls(raw, {"times": 2, "twice": False}, {"times": 2, "twice": True})
    assert [list(d.inputs) for d in both] == [["x"], ["x"]]
    assert both[0].name == "times_s4"
    assert both[1].name.startswith("times_s4_x")
    assert [float(run(d, torch.ones(1, 4))[0, 0]) for d in both] == [2.0, 4.0]
    numbers = _of_calls(raw, {"times": 2, "twice": False}, {"times": 3, "twice": False})
    assert [list(d.inputs) for d in numbers] == [["x", "times"]]


def _of_calls(raw: dumps.RawDump, *scalars: dict[str, Any]) -> list[Definition]:
    """The definitions of a dump that came from these calls, the first of them seen twice."""
    from kernelkit.capture.normalize.normalizer import Source, merged, normalize

    calls = [dumps.call(raw, scalars=each) for each in (*scalars, scalars[0])]
    found = merged(normalize([raw], Source(calls=calls), Path("pass")))
    return [variant.definition for variant in found]


def test_helpers_that_the_dump_lacks(tmp_path: Path) -> None:
    text = HEAD + "def _ref(x):\n    return _outer(x)\n"
    raw = dump("helped_s4", "flashinfer.x.helped", {"size": 4}, {"x": ROWS}, {"y": ROWS}, text,
               variables=("rows",))  # fmt: skip
    assert refused(raw) == "reference-incomplete"
    templates = tmp_path / "flashinfer" / "trace" / "templates"
    templates.mkdir(parents=True)
    (templates / "x.py").write_text("N = 3\n\n\ndef _outer(x):\n    return _inner(x)\n\n\n"
                                    "def _inner(x):\n    return x * N\n")  # fmt: skip
    definition = made(raw, flashinfer=tmp_path)
    assert torch.equal(run(definition, torch.ones(1, 4)), torch.full((1, 4), 3.0))


def test_axes_that_names_or_constraints_give() -> None:
    text = HEAD + "def _ref(x):\n    return x[:, ::2].contiguous(), x[:, ::4].contiguous()\n"
    raw = dump("halves_s8", "flashinfer.x.halves", {"hidden_size": 8},
               {"x": ("rows hidden_size", "float32")},
               {"y": ("rows hidden_div_2", "float32"), "z": ("rows quarter", "float32")}, text,
               variables=("rows", "hidden_div_2", "quarter"),
               constraints=("quarter == hidden_size // 4", "rows == someone_else"))  # fmt: skip
    definition = made(raw)
    assert definition.const_axes == {"hidden_size": 8, "hidden_div_2": 4, "quarter": 2}
    assert definition.constraints == ["quarter == hidden_size // 4"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"reference": None}, "no-reference"),
        ({"reference": "def _ref(:\n"}, "reference-syntax"),
        ({"consts": {"size": None}}, "axis-without-value"),
        ({"consts": {"size": -1}}, "axis-without-value"),
        ({"inputs": {"x": ("rows size", "unknown")}}, "dtype-unknown"),
        ({"inputs": {"x": ("rows size", "complex64")}}, "dtype-not-in-format"),
        ({"inputs": {"x": ("rows elsewhere", "float32")}}, "axis-undeclared"),
        ({"constraints": ("size == 5",)}, "constraint-false"),
        ({"outputs": {}}, "no-outputs"),
        ({"outputs": {"y": ROWS, "z": ROWS}, "reference": "def _ref(x):\n    return x, x, x\n"},
         "outputs-differ"),
        ({"reference": "def _ref(x, lost):\n    return x\n"}, "argument-lost"),
        ({"name": "../escape"}, "name"),
        ({"api": "flashinfer.gemm.gemm_base.mm_fp8"}, "reference-false"),
    ],
)  # fmt: skip
def test_refusals_are_named(change: dict[str, Any], code: str) -> None:
    parts: dict[str, Any] = {
        "name": "thing_s4", "api": "flashinfer.x.thing", "consts": {"size": 4},
        "inputs": {"x": ROWS},
        "outputs": {"y": ROWS}, "reference": "def _ref(x):\n    return x\n",
        "variables": ("rows", "other"), **change,
    }  # fmt: skip
    assert refused(dump(**parts)) == code


def _smoked(raw: dumps.RawDump) -> Normalized:
    from kernelkit.bench.smoke import run_once

    result = dumps.one(raw)
    run_all([result], lambda definitions: ((d, run_once(d)) for d in definitions))
    return result


def test_a_trial_run_mends_types_and_takes_back_what_fails() -> None:
    parts = ({"size": 4}, {"x": ("rows size", "bfloat16")}, {"y": ("rows size", "bfloat16")})
    rounded = _smoked(dump("a_s4", "flashinfer.x.a", *parts, "def _ref(x):\n    return x.float()\n",
                           variables=("rows",)))  # fmt: skip
    assert rounded.definition is not None
    assert rounded.definition.outputs["y"].dtype.value == "bfloat16"
    assert run(rounded.definition, torch.ones(1, 4)).dtype == torch.bfloat16
    text = HEAD + "def _ref(x):\n    return x.to(torch.float8_e4m3fn)\n"
    other = _smoked(dump("b_s4", "flashinfer.x.b", *parts, text, variables=("rows",)))
    assert other.definition is not None
    assert other.definition.outputs["y"].dtype.value == "float8_e4m3fn"
    fails = _smoked(dump("c_s4", "flashinfer.x.c", *parts, "def _ref(x):\n    return x[9]\n",
                         variables=("rows",)))  # fmt: skip
    assert fails.refusal is not None
    assert fails.refusal.code == "does-not-run"
    assert fails.definition is None


def test_another_interface_under_a_familys_op_type_gets_its_own() -> None:
    text = HEAD + "def _ref(x, pos_ids):\n    return x * (1 + pos_ids[:, None])\n"
    raw = dump("rope_pos_ids_h4", "flashinfer.rope.apply_rope_pos_ids", {"size": 4},
               {"x": ROWS, "pos_ids": ("rows", "int32")}, {"y": ROWS}, text, variables=("rows",),
               op_type="rope")  # fmt: skip
    result = _smoked(raw)
    assert result.definition is not None
    assert result.definition.op_type == "rope_pos_ids"


def _measured(outputs: dict[str, tuple[str, str]], body: str) -> Normalized:
    raw = dump("packs_s8", "flashinfer.x.packs", {"size": 8}, {"x": ROWS}, outputs,
               HEAD + f"def _ref(x):\n    return {body}\n",
               variables=("rows", "half", "scales"))  # fmt: skip
    return _smoked(raw)


def test_output_axes_are_measured() -> None:
    result = _measured({"y": ("rows half", "float32"), "s": ("scales", "float32")},
                       "x[:, ::2].contiguous(), x[:, :2].reshape(-1)")  # fmt: skip
    assert result.definition is not None, str(result.refusal)
    assert result.definition.const_axes == {"size": 8, "half": 4, "scales": 2}
    assert result.definition.outputs["s"].shape == ["rows", "scales"]
    assert run(result.definition, torch.ones(3, 8))[1].shape == (3, 2)


@pytest.mark.parametrize(
    "body", ["torch.zeros(-(-len(x) // 128) * 128)", "x", "torch.zeros(2 * len(x) + 1)"]
)
def test_padded_or_other_outputs_are_refused(body: str) -> None:
    result = _measured({"s": ("scales", "float32")}, body)
    assert result.refusal is not None
    assert result.refusal.code == "axis-unbound"
    assert "scales" in result.refusal.reason
