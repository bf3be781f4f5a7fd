"""rmsnorm: what is derived and what is not, eps across texts, cost by hand, faults refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import DENSE, LATENT, LINEAR  # noqa: E402

from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import ModelSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.rmsnorm import read_eps  # noqa: E402

OP = family("rmsnorm")
FORMS = [(fused, gemma) for fused in (False, True) for gemma in (False, True)]
# Faults that a kernel may have: a piece of the reference's text, and what stands there instead.
FAULTS = {
    "sum for mean": (".mean(dim=-1, keepdim=True)", ".sum(dim=-1, keepdim=True)"),
    "no root": ("torch.rsqrt(", "torch.reciprocal("),
    "mean subtracted": ("x * torch.rsqrt(x.square()", "(x - x.mean()) * torch.rsqrt(x.square()"),
    "no weight": (" * weight.to(torch.float32)", ""),
}


def names(spec: ModelSpec, tp: int = 1) -> list[str]:
    """Derived names, in order."""
    return [v.definition.name for v in OP.derive(spec, Parallelism(tp=tp), ())]


# RMSNorm as another hand would write it; eps: a name or a number.
OTHER = """
import torch
def run(hidden_states, weight):
    {first}
    x = hidden_states.float()
    scale = 1 / torch.sqrt((x ** 2).mean(-1, True) + {eps})
    return (x * scale * weight.float()).bfloat16()
"""


@pytest.mark.parametrize(("fused", "gemma"), FORMS)
@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1.5e-5])
def test_eps_is_in_the_text_and_the_semantics(fused: bool, gemma: bool, eps: float) -> None:
    definition = OP.definition(64, eps, fused=fused, gemma=gemma)
    assert f"EPS = {eps!r}" in definition.reference.splitlines()
    assert OP.semantics(definition) == {"eps": eps}


@pytest.mark.parametrize(
    ("first", "eps"), [("eps = 1e-5", "eps"), ("epsilon = 0.00001", "epsilon"), ("pass", "1e-05")]
)
def test_a_text_by_another_hand_computes_and_reads_the_same(first: str, eps: str) -> None:
    ours = OP.definition(64, 1e-5)
    theirs = ours.model_copy(update={"reference": OTHER.format(first=first, eps=eps)})
    assert OP.semantics(theirs) == OP.semantics(ours) == {"eps": 1e-5}
    inputs = OP.make_inputs(ours, {"batch_size": 5}, seed=1)
    inputs["hidden_states"] *= 1e-2  # so small that eps weighs
    got, want = oracle.execute(theirs, inputs)[0], oracle.execute(ours, inputs)[0]
    torch.testing.assert_close(got, want, atol=0, rtol=8e-3)
    other = oracle.execute(OP.definition(64, 1e-4), inputs)[0]
    assert (other.float() - want.float()).abs().max() > 0.1


@pytest.mark.parametrize(
    "text",
    [
        "def run(x, w):\n    return x * torch.rsqrt(x.pow(2).mean(-1) + 1e-5) * (w.float() + 1.0)",
        "def run(x, w):\n    s = w.float() + 1\n    return x * rsqrt(x.pow(2).mean(-1) + 1e-5) * s",
        "def run(x, w):\n    return x * torch.rsqrt(1e-5 + x.pow(2).mean(-1)) * w",
        "def run(x, w, eps=1e-5):\n    return x * torch.rsqrt(x.pow(2).mean(-1) + eps) * w",
        "def run(x, w, *, eps=1e-5):\n    return x * rsqrt(x.pow(2).mean(-1) + float(eps)) * w",
        "def run(x, w):\n    return torch.nn.functional.rms_norm(x, (8,), w, eps=1e-5)",
        "def run(x, w):\n    return torch.nn.functional.rms_norm(x, (8,), w, 1e-5)",
        "E: float = 1e-5\ndef run(x, w):\n    return x * torch.rsqrt(x.pow(2).mean(-1) + E) * w",
        "RMS_EPS = 1e-5\ndef run(x, w):\n    return x / (x.pow(2).mean(-1) + RMS_EPS) ** 0.5",
    ],
)
def test_eps_is_read_wherever_it_stands(text: str) -> None:
    assert read_eps(text) == 1e-5


@pytest.mark.parametrize("text", ["def run(:", "\0", "(" * 5000, ""])
def test_a_text_that_is_no_python_has_no_eps(text: str) -> None:
    assert read_eps(text) is None


def test_an_eps_that_the_text_takes_from_elsewhere_is_unknown() -> None:
    assert read_eps("def run(x, w, eps):\n    return x * (x.pow(2).mean(-1) + eps) ** -0.5") is None


def test_eps_of_one_and_the_same_shape_are_two_variants() -> None:
    """The name does not carry eps; the name that the second takes does."""
    one, two = (
        next(iter(OP.derive(replace(DENSE, norm_eps=eps), Parallelism(), ())))
        for eps in (1e-5, 1e-6)
    )
    assert one.definition.signature() == two.definition.signature()
    assert OP.semantics(one.definition) != OP.semantics(two.definition)
    assert (one.fallback_name, two.fallback_name) == (
        "rmsnorm_h4096_eps1e-5", "rmsnorm_h4096_eps1e-6",
    )  # fmt: skip


def test_norms_are_not_divided() -> None:
    assert names(DENSE, 8) == names(DENSE) and names(LATENT, 8) == names(LATENT)


def test_norms_that_are_other_ops_are_not_derived() -> None:
    """LayerNorm, q/k norms over all heads together and L2 norms have no definition here."""
    assert names(replace(DENSE, norm_kind="layernorm")) == []
    for kind in ("full", "l2", None):
        attention = replace(DENSE.attention, qk_norm=kind)
        assert names(replace(DENSE, attention=attention)) == names(DENSE)[:2]
    without_q_rank = replace(LATENT, mla=replace(LATENT.mla, q_lora_rank=None))
    assert names(without_q_rank) == [
        "rmsnorm_h7168", "fused_add_rmsnorm_h7168", "rmsnorm_h512",
    ]  # fmt: skip


def test_a_size_that_occurs_twice_is_derived_once() -> None:
    small = replace(LINEAR, hidden_size=256)  # its q/k norm is of 256, too
    assert names(small) == ["gemma_rmsnorm_h256", "gemma_fused_add_rmsnorm_h256"]


@pytest.mark.parametrize(("fused", "gemma"), FORMS)
def test_cost_by_hand(fused: bool, gemma: bool) -> None:
    """Rows of 8 bfloat16: one or two read, one written; the weight once."""
    cost = OP.cost(OP.definition(8, 1e-6, fused=fused, gemma=gemma), {"batch_size": 3})
    assert cost.bytes_moved == (3 if fused else 2) * 3 * 8 * 2 + 8 * 2
    assert cost.flops == (5 if fused else 4) * 3 * 8


@pytest.mark.parametrize(("fused", "gemma"), FORMS)
@pytest.mark.parametrize("batch", [0, 1, 6])
def test_inputs(batch: int, fused: bool, gemma: bool) -> None:
    definition = OP.definition(16, 1e-6, fused=fused, gemma=gemma)
    inputs = OP.make_inputs(definition, {"batch_size": batch}, seed=1)
    again = OP.make_inputs(definition, {"batch_size": batch}, seed=1)
    assert list(inputs) == list(definition.inputs)
    for name, value in inputs.items():
        assert value.shape == definition.shape_of(name, {"batch_size": batch})
        assert value.dtype == torch.bfloat16 and torch.equal(value, again[name])
    (output,) = oracle.execute(definition, inputs)
    assert output.shape == (batch, 16) and output.dtype == torch.bfloat16


def verdict(definition: Any, got: torch.Tensor, want: torch.Tensor) -> Status:
    """The evaluator's verdict at the family's tolerance."""
    return compare({"output": got}, {"output": want}, OP.tolerance(definition)).status


@pytest.mark.parametrize("fault", FAULTS)
def test_tolerance_refuses(fault: str) -> None:
    definition = OP.definition(256, 1e-6)
    inputs = OP.make_inputs(definition, {"batch_size": 4}, seed=1)
    (want,) = oracle.execute(definition, inputs)
    right, wrong = FAULTS[fault]
    assert right in definition.reference
    faulty = definition.model_copy(
        update={"reference": definition.reference.replace(right, wrong, 1)}
    )
    (got,) = oracle.execute(faulty, inputs)
    assert verdict(definition, got, want) is Status.INCORRECT_NUMERICAL


def test_tolerance_tells_gemma_from_plain_and_fused_from_not() -> None:
    plain, gemma = (OP.definition(256, 1e-6, gemma=g) for g in (False, True))
    inputs = OP.make_inputs(plain, {"batch_size": 4}, seed=1)
    (one,), (two,) = oracle.execute(plain, inputs), oracle.execute(gemma, inputs)
    assert verdict(gemma, one, two) is Status.INCORRECT_NUMERICAL
    fused = OP.definition(256, 1e-6, fused=True)
    inputs = OP.make_inputs(fused, {"batch_size": 4}, seed=1)
    (want,) = oracle.execute(fused, inputs)
    (got,) = oracle.execute(plain, {n: inputs[n] for n in plain.inputs})
    assert verdict(fused, got, want) is Status.INCORRECT_NUMERICAL


def test_tolerance_allows_bfloat16_steps() -> None:
    """A kernel that rounds the normed row before it applies the weight, as Llama's module does."""
    definition = OP.definition(256, 1e-6)
    inputs = OP.make_inputs(definition, {"batch_size": 64}, seed=1)
    x = inputs["hidden_states"].float()
    normed = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)).bfloat16()
    (want,) = oracle.execute(definition, inputs)
    assert verdict(definition, normed * inputs["weight"], want) is Status.PASSED
