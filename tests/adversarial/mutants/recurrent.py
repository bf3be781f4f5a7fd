"""Wrong and right kernels of gdn and mamba_ssu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from kernelkit.dataset.definition import Definition

CHUNK = 64


@dataclass(frozen=True)
class Delta:
    """The gated delta rule, sequence by sequence; right unless a flaw is set.

    `chunked` works in chunks with bfloat16 operands, as prefill kernels do, and is right.
    """

    definition: Definition
    chunked: bool = False
    stateless: bool = False  # the given state is not used
    transposed: bool = False
    raw_beta: bool = False
    linear_gate: bool = False  # the log of the decay taken for the decay's own negative
    decay_late: bool = False  # the decay applies after the update
    tiled: bool = False  # value heads share key heads by remainder
    gain: float = 1.0
    rate: float = 1.0  # factor of the step
    dropped: str = ""  # "first", "middle" or "last": a token that leaves the state as it is
    cut: int = 0  # tokens after which the state is lost
    stale: bool = False  # the state of the token before the last is written
    swapped: bool = False  # two value heads
    shifted: bool = False  # the state of the next request

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """output, state."""
        x = dict(zip(self.definition.inputs, arguments, strict=True))
        decay, beta = self._gates(x)
        if "initial_state" in x:
            return self._mtp(x, decay, beta)
        rows = x["q"].shape[:-2]
        spans = x["cu_seqlens"].tolist() if "cu_seqlens" in x else list(range(rows[0] + 1))
        flat = {n: x[n].reshape(-1, *x[n].shape[-2:]) for n in ("q", "k", "v")}
        state = x["state"].roll(-1, 0) if self.shifted else x["state"]
        output, states = torch.zeros_like(flat["v"]), state.clone()
        for i in range(len(spans) - 1):
            part = slice(spans[i], spans[i + 1])
            tensors = {n: t[part] for n, t in flat.items()}
            gates = decay.reshape(-1, decay.shape[-1])[part], beta.reshape(-1, beta.shape[-1])[part]
            output[part], states[i] = self._sequence(tensors, gates, state[i], x["scale"])
        if self.swapped:
            output[:, :2] = output[:, [1, 0]]
        return output.view(*rows, *output.shape[1:]), states

    def _mtp(
        self, x: dict[str, Any], decay: torch.Tensor, beta: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        output, pool = torch.zeros_like(x["v"]), x["initial_state"].clone()
        slots = x["initial_state_indices"].tolist()
        for i, slot in enumerate(slots):
            tensors = {n: x[n][i] for n in ("q", "k", "v")}
            state = pool[(slot + 1) % len(pool) if self.shifted else slot]
            out, new = self._sequence(tensors, (decay[i], beta[i]), state, x["scale"])
            output[i] = out
            if self.stale:  # here: the pool is written, which it must not be
                pool[slot] = new
        if self.swapped:
            output[:, :, :2] = output[:, :, [1, 0]]
        return output, pool

    def _gates(self, x: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        step = torch.nn.functional.softplus(x["a"].float() + x["dt_bias"]) * self.rate
        log = -x["A_log"].exp() * step
        decay = (1.0 + log).clamp(min=0.0) if self.linear_gate else log.exp()
        return decay, x["b"].float() if self.raw_beta else x["b"].float().sigmoid()

    def _sequence(
        self,
        x: dict[str, torch.Tensor],
        gates: tuple[torch.Tensor, torch.Tensor],
        state: torch.Tensor,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[t, heads, V] and the state [heads, V, K] of one sequence."""
        heads, group = x["v"].shape[1], x["v"].shape[1] // x["q"].shape[1]
        head = torch.arange(heads)
        head = head % x["q"].shape[1] if self.tiled else head // group
        q, k = (x[n].float()[:, head] for n in ("q", "k"))
        s = torch.zeros_like(state) if self.stateless else state
        s = s.transpose(1, 2) if self.transposed else s
        if self.chunked:
            out, s = _chunks(q, k, x["v"].float(), *gates, s)
        else:
            out, s = self._steps(q, k, x["v"].float(), *gates, s)
        s = s.transpose(1, 2) if self.transposed else s
        return (out * (scale * self.gain)).to(x["v"].dtype), s

    def _steps(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor,
        beta: torch.Tensor, state: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        count = len(q)
        left_out = {"first": 0, "middle": count // 2, "last": count - 1}.get(self.dropped, -1)
        before, outputs = state, []
        for t in range(count):
            if self.cut and t and t % self.cut == 0:
                state = torch.zeros_like(state)
            before = state
            if t != left_out:
                state = self._update(state, k[t], v[t], decay[t], beta[t])
            outputs.append(torch.einsum("hvk,hk->hv", state, q[t]))
        out = torch.stack(outputs) if outputs else v
        return out, before if self.stale else state

    def _update(
        self, state: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor,
        beta: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        factor = decay[:, None, None]
        state = state if self.decay_late else state * factor
        old = torch.einsum("hvk,hk->hv", state, k)
        state = state + (beta[:, None] * (v - old))[..., None] * k[:, None, :]
        return state * factor if self.decay_late else state


def _short(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.bfloat16).float()


def _chunks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The rule in chunks: within one, (I + tril(beta k k^T decays))^-1 solves for the updates."""
    outputs = []
    for start in range(0, len(q), CHUNK):
        part = slice(start, start + CHUNK)
        cq, ck, cv = (x[part].transpose(0, 1) for x in (q, k, v))  # [heads, t, *]
        b = beta[part].T[..., None]
        g = decay[part].clamp(min=1e-30).log().cumsum(0).T  # [heads, t]
        size = g.shape[1]
        ratio = (g[:, :, None] - g[:, None, :]).tril().exp().tril()
        inner = (b * (ck @ ck.transpose(1, 2)) * ratio).tril(-1)
        solve = _short(torch.linalg.inv(torch.eye(size) + inner))
        u = _short(solve @ _short(b * cv))
        w = _short(solve @ _short(b * ck * g.exp()[..., None]))
        new = _short(u - w @ _short(state).transpose(1, 2))
        weights = _short((cq @ ck.transpose(1, 2)) * ratio)
        outputs.append(
            _short(cq * g.exp()[..., None]) @ _short(state).transpose(1, 2) + weights @ new
        )
        last = g[:, -1:]
        keys = _short(ck * (last - g).exp()[..., None])
        state = state * last.exp()[..., None] + new.transpose(1, 2) @ keys
    out = torch.cat(outputs, dim=1).transpose(0, 1) if outputs else v
    return out, state


GDN_FLAWS: dict[str, dict[str, Any]] = {
    "state not used": {"stateless": True},
    "state transposed": {"transposed": True},
    "state of the next request": {"shifted": True},
    "beta without sigmoid": {"raw_beta": True},
    "gate linear": {"linear_gate": True},
    "decay after the update": {"decay_late": True},
    "heads grouped by remainder": {"tiled": True},
    "times 1.02": {"gain": 1.02},
    "steps times 1.05": {"rate": 1.05},
    "two heads swapped": {"swapped": True},
    "stale state": {"stale": True},
}
LONG_GDN_FLAWS: dict[str, dict[str, Any]] = {
    "first token dropped": {"dropped": "first"},
    "middle token dropped": {"dropped": "middle"},
    "last token dropped": {"dropped": "last"},
    "state lost between chunks": {"cut": CHUNK},
}


@dataclass(frozen=True)
class Ssu:
    """The selective state update, right unless a flaw is set."""

    definition: Definition
    no_softplus: bool = False
    no_bias: bool = False
    no_skip: bool = False  # D
    tiled: bool = False  # heads share groups by remainder
    gain: float = 1.0
    rate: float = 1.0
    stale: bool = False  # the state is not written
    by_row: bool = False  # slots are the requests' numbers
    old_state: bool = False  # y from the state before the update
    swapped: bool = False  # two heads
    unclean: bool = False  # another slot is touched

    def __call__(
        self, state: torch.Tensor, x: torch.Tensor, dt: torch.Tensor, A: torch.Tensor,
        B: torch.Tensor, C: torch.Tensor, D: torch.Tensor, dt_bias: torch.Tensor,
        state_batch_indices: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """output, the pool."""
        heads, groups = x.shape[1], B.shape[1]
        head = torch.arange(heads)
        head = head % groups if self.tiled else head // (heads // groups)
        slots = torch.arange(len(x)) if self.by_row else state_batch_indices.long()
        step = dt.float() + (0.0 if self.no_bias else dt_bias.float())
        step = step.clamp(min=0.0) if self.no_softplus else torch.nn.functional.softplus(step)
        step = step * self.rate
        old = state[slots].float()
        new = old * (A * step[..., None]).exp()
        new = new + (step * x.float())[..., None] * B.float()[:, head, None]
        read = old if self.old_state else new
        y = torch.einsum("bhds,bhs->bhd", read, C.float()[:, head])
        y = y if self.no_skip else y + x.float() * D.float()
        pool = state.clone()
        if not self.stale:
            pool[slots] = new.to(state.dtype)
        if self.unclean:
            pool[[s for s in range(len(pool)) if s not in slots.tolist()][:1]] = 0
        y[:, :2] = y[:, [1, 0]] if self.swapped else y[:, :2]
        return (y * self.gain).to(x.dtype), pool


SSU_FLAWS: dict[str, dict[str, Any]] = {
    "no softplus": {"no_softplus": True},
    "no dt_bias": {"no_bias": True},
    "no D": {"no_skip": True},
    "groups by remainder": {"tiled": True},
    "times 1.02": {"gain": 1.02},
    "steps times 1.02": {"rate": 1.02},
    "state not written": {"stale": True},
    "slots not looked up": {"by_row": True},
    "output of the old state": {"old_state": True},
    "two heads swapped": {"swapped": True},
    "another slot cleared": {"unclean": True},
}
