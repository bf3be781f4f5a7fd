"""gdn: slots of the pool, padding, costs by hand, and a tolerance that tells right from wrong."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402

from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import family  # noqa: E402

OP = family("gdn")
CHUNK = 64
AXES = {
    "decode": {"batch_size": 2},
    "mtp": {"batch_size": 2, "seq_len": 3, "pool_size": 4},
    "prefill": {"total_seq_len": 300, "num_seqs": 3, "len_cu_seqlens": 4},
}
# Faults that a kernel may have: a piece of the reference's text, and what stands there instead.
FAULTS = {
    "no decay": ("state = state * decay[..., None, None]", "state = state * 1.0"),
    "beta of one": ("delta = beta[..., None] * (v - old_v)", "delta = v - old_v"),
    "no delta": ("(v - old_v)", "v"),
    "scale a fifth too large": ("* scale)", "* scale * 1.2)"),
    "heads paired in another order": ("repeat_interleave(group, dim=1)", "repeat(1, group, 1)"),
    "softplus left out": ("torch.nn.functional.softplus(", "("),
}


def status(definition: Definition, got: Any, want: Any) -> Status:
    """The verdict of the evaluator at the family's tolerance."""
    names = list(definition.outputs)
    named = (dict(zip(names, outputs, strict=True)) for outputs in (got, want))
    return compare(*named, OP.tolerance(definition)).status


@pytest.mark.parametrize("stage", ["decode", "prefill"])
@pytest.mark.parametrize("fault", FAULTS)
def test_tolerance_refuses(fault: str, stage: str) -> None:
    definition = OP.definition(2, 4, 128, stage=stage)
    inputs = OP.make_inputs(definition, AXES[stage], seed=1)
    right, wrong = FAULTS[fault]
    assert right in definition.reference
    namespace: dict[str, Any] = {}
    exec(definition.reference.replace(right, wrong), namespace)
    got = namespace["run"](*inputs.values())
    want = oracle.execute(definition, inputs)
    assert status(definition, got, want) is Status.INCORRECT_NUMERICAL


def test_tolerance_refuses_zeros() -> None:
    """Outputs are small (1/sqrt(K) times unit vectors): zeros must be far from them."""
    for stage, axes in AXES.items():
        definition = OP.definition(2, 4, 128, stage=stage)
        want = oracle.execute(definition, OP.make_inputs(definition, axes, seed=1))
        near = (want[0].float().abs() <= OP.tolerance(definition).atol).float().mean()
        got = (torch.zeros_like(want[0]), want[1])
        assert status(definition, got, want) is Status.INCORRECT_NUMERICAL
        assert near < 0.75


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).float()


def chunk(
    state: torch.Tensor, rows: tuple[torch.Tensor, ...], log_decay: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One chunk of all heads as tensor cores do it: bfloat16 operands, float32 sums.

    q, k, v [h, n, d], beta [h, n]; log_decay [h, n] summed over the chunk; state [h, V, K].
    """
    q, k, v, beta = rows
    size = q.shape[1]
    ratio = torch.exp(log_decay[:, :, None] - log_decay[:, None, :]).tril()
    coupling = ((k @ k.transpose(1, 2)) * ratio * beta[:, :, None]).tril(-1)
    solve = rounded(torch.linalg.inv(torch.eye(size) + coupling))
    decayed = beta[:, :, None] * torch.exp(log_decay)[:, :, None] * k
    held = rounded(state)
    new = solve @ rounded(beta[:, :, None] * v)
    new = rounded(new - rounded(solve @ rounded(decayed)) @ held.transpose(1, 2))
    out = torch.exp(log_decay)[:, :, None] * (q @ held.transpose(1, 2))
    out = out + rounded((q @ k.transpose(1, 2)) * ratio) @ new
    rest = torch.exp(log_decay[:, -1:] - log_decay)
    state = state * torch.exp(log_decay[:, -1])[:, None, None]
    return out * scale, state + rounded(new * rest[:, :, None]).transpose(1, 2) @ k


@pytest.mark.parametrize("seed", [1, 2])
def test_tolerance_allows_a_chunked_kernel(seed: int) -> None:
    definition = OP.definition(2, 4, 128, stage="prefill")
    inputs = OP.make_inputs(definition, AXES["prefill"], seed=seed)
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    gates = namespace["gates"](*(inputs[name] for name in ("A_log", "a", "dt_bias", "b")))
    q, k = (inputs[name].float().repeat_interleave(2, dim=1) for name in ("q", "k"))
    rows = [x.transpose(0, 1) for x in (q, k, inputs["v"].float(), gates[1])]
    output, states = torch.zeros(inputs["v"].shape), inputs["state"].clone()
    offsets = inputs["cu_seqlens"].tolist()
    for sequence, (first, last) in enumerate(zip(offsets, offsets[1:], strict=False)):
        for start in range(first, last, CHUNK):
            at = slice(start, min(start + CHUNK, last))
            decay = torch.log(gates[0][at].T).cumsum(dim=1)
            part = tuple(x[:, at] for x in rows)
            out, states[sequence] = chunk(states[sequence], part, decay, inputs["scale"])
            output[at] = out.transpose(0, 1)
    want = oracle.execute(definition, inputs)
    assert status(definition, (output.bfloat16(), states), want) is Status.PASSED


@pytest.mark.parametrize(("batch", "pool"), [(6, 3), (3, 3), (2, 9), (1, 1)])
def test_every_request_has_a_slot(batch: int, pool: int) -> None:
    definition = OP.definition(1, 2, 16, stage="mtp")
    axes = {"batch_size": batch, "seq_len": 2, "pool_size": pool}
    inputs = OP.make_inputs(definition, axes, seed=1)
    slots = inputs["initial_state_indices"]
    assert slots.dtype == torch.int32 and slots.shape == (batch,)
    assert ((slots >= 0) & (slots < pool)).all()
    assert len(slots.unique()) == min(batch, pool)
    output, final = oracle.execute(definition, inputs)
    assert output.shape == (batch, 2, 2, 16) and torch.equal(final, inputs["initial_state"])


def test_a_padded_request_gets_zeros() -> None:
    """A slot below 0 reads no state: FlashInfer skips the request."""
    definition = OP.definition(1, 2, 16, stage="mtp")
    inputs = OP.make_inputs(definition, {"batch_size": 3, "seq_len": 2, "pool_size": 5}, seed=1)
    full, _ = oracle.execute(definition, inputs)
    inputs["initial_state_indices"][1] = -1
    padded, final = oracle.execute(definition, inputs)
    assert (padded[1] == 0).all() and (full[1] != 0).any()
    assert torch.equal(padded[[0, 2]], full[[0, 2]])
    assert torch.equal(final, inputs["initial_state"])


def test_the_buffer_is_room_and_may_be_absent() -> None:
    definition = OP.definition(1, 2, 16, stage="mtp")
    inputs = OP.make_inputs(definition, {"batch_size": 2, "seq_len": 3, "pool_size": 4}, seed=1)
    buffer = inputs["intermediate_states_buffer"]
    assert buffer.shape == (4, 3, 2, 16, 16) and not buffer.any()
    with_buffer = oracle.execute(definition, inputs)
    without = oracle.execute(definition, inputs | {"intermediate_states_buffer": None})
    assert all(torch.equal(a, b) for a, b in zip(with_buffer, without, strict=True))


@pytest.mark.parametrize("gate", [-1e4, 1e4])
def test_extreme_gates_stay_finite(gate: float) -> None:
    for stage in AXES:
        definition = OP.definition(1, 2, 16, stage=stage)
        inputs = OP.make_inputs(definition, OP.small_axes(definition), seed=1)
        for name in ("a", "b"):
            inputs[name] = torch.full_like(inputs[name], gate)
        assert all(x.isfinite().all() for x in oracle.execute(definition, inputs))


@pytest.mark.parametrize("total", [0, 2, 5, 40])
def test_sequences_fill_the_tokens(total: int) -> None:
    definition = OP.definition(1, 2, 16, stage="prefill")
    axes = {"total_seq_len": total, "num_seqs": 5, "len_cu_seqlens": 6}
    offsets = OP.make_inputs(definition, axes, seed=1)["cu_seqlens"]
    assert offsets.dtype == torch.int64 and offsets.shape == (6,)
    assert offsets[0] == 0 and offsets[-1] == total and (offsets.diff() >= 0).all()


def test_costs_by_hand() -> None:
    """One key head, two value heads of 4: a state is 2 * 4 * 4 float32, 128 bytes."""
    decode = OP.definition(1, 2, 4, stage="decode")
    # q, k 8 bytes each, v and output 16, a and b 4; A_log and dt_bias 8 each, once
    rest = 3 * (8 + 8 + 16 + 16 + 4 + 4) + 16
    assert OP.cost(decode, {"batch_size": 3}).bytes_moved == rest + 2 * 3 * 128
    assert OP.cost(decode, {"batch_size": 3}, {"state": None}).bytes_moved == rest + 3 * 128
    mtp = OP.definition(1, 2, 4, stage="mtp")
    axes = {"batch_size": 3, "seq_len": 2, "pool_size": 50}
    cost = OP.cost(mtp, axes)
    assert cost.bytes_moved == 2 * 3 * 56 + 16 + 3 * 128
    assert cost.flops == 7 * 6 * 32
    padded = OP.cost(mtp, axes, {"initial_state_indices": torch.tensor([4, -1, 2])})
    assert padded.bytes_moved == cost.bytes_moved - 128 and padded.flops == 7 * 4 * 32
    prefill = OP.definition(1, 2, 4, stage="prefill")
    cost = OP.cost(prefill, {"total_seq_len": 10, "num_seqs": 3, "len_cu_seqlens": 4})
    assert cost.bytes_moved == 10 * 56 + 16 + 4 * 8 + 2 * 3 * 128
    assert cost.flops == 7 * 10 * 32


@pytest.mark.parametrize("stage", AXES)
def test_inputs_are_those_of_a_layer(stage: str) -> None:
    definition = OP.definition(2, 4, 128, stage=stage)
    inputs = OP.make_inputs(definition, AXES[stage], seed=1)
    for name in ("q", "k"):
        norms = inputs[name].float().norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-2, rtol=0)
    a = inputs["A_log"].exp()
    assert ((a >= 1 - 1e-5) & (a <= 16 + 1e-4)).all()
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    decay, beta = namespace["gates"](*(inputs[n] for n in ("A_log", "a", "dt_bias", "b")))
    assert 0.3 < float(decay.median()) < 1 and 0 < float(beta.min()) < float(beta.max()) < 1
    pool = inputs["initial_state" if stage == "mtp" else "state"]
    assert 0.05 < float(pool.std()) < 0.2
    assert inputs["scale"] == 128**-0.5


@pytest.mark.parametrize(("qk", "v"), [(1, 8), (3, 3)])
def test_tokens_at_once_are_tokens_one_by_one(qk: int, v: int) -> None:
    """A prefill, and mtp, give what a chain of decode steps gives."""
    stages = {stage: OP.definition(qk, v, 16, stage=stage) for stage in AXES}
    axes = {"batch_size": 1, "seq_len": 9, "pool_size": 3}
    inputs = OP.make_inputs(stages["mtp"], axes, seed=1)
    state = inputs["initial_state"][inputs["initial_state_indices"].long()]
    rows = {n: inputs[n] for n in ("q", "k", "v", "a", "b")}
    fixed = {n: inputs[n] for n in ("A_log", "dt_bias", "scale")}
    together, _ = oracle.execute(stages["mtp"], inputs)
    ragged = {n: x[0] for n, x in rows.items()} | fixed
    ragged |= {"state": state, "cu_seqlens": torch.tensor([0, 9])}
    whole, last = oracle.execute(
        stages["prefill"], {n: ragged[n] for n in stages["prefill"].inputs}
    )
    steps = []
    for t in range(9):
        step = {n: x[:, t : t + 1] for n, x in rows.items()} | fixed | {"state": state}
        out, state = oracle.execute(stages["decode"], {n: step[n] for n in stages["decode"].inputs})
        steps.append(out)
    chain = torch.cat(steps, dim=1)
    torch.testing.assert_close(together, chain)
    torch.testing.assert_close(whole[None], chain)
    torch.testing.assert_close(last, state)


def test_no_sequences() -> None:
    definition = OP.definition(1, 2, 16, stage="prefill")
    axes = {"total_seq_len": 0, "num_seqs": 0, "len_cu_seqlens": 1}
    output, states = oracle.execute(definition, OP.make_inputs(definition, axes, seed=1))
    assert output.shape == (0, 2, 16) and states.shape == (0, 2, 16, 16)
