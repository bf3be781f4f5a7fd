"""One attention kernel for all families, right unless one of its flaws is set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family

Axes = dict[str, int]
Inputs = dict[str, Any]
NOTHING = -math.inf  # the log-sum-exp of no key
LATENT = ("mla", "dsa")  # how the names of these kinds begin


@dataclass(frozen=True)
class Request:
    """Queries [m, H, d], keys [n, KV, d], values [n, KV, e]; rows of the output."""

    rows: slice
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


@dataclass(frozen=True)
class Attention:
    """Attention by blocks of keys with a running maximum, as tensor-core kernels do it.

    The fields are flaws; without any of them, and with weights in bfloat16 or float32, it is right.
    """

    definition: Definition
    weights: torch.dtype = torch.float32
    dropped: Callable[[int], int] | None = None  # length -> place of a token that is left out
    twice: Callable[[int], int] | None = None  # ... of one whose predecessor is taken instead
    causal: int = 0  # keys that a query sees beyond its own
    top_left: bool = False
    factor: float = 1.0  # of sm_scale
    gain: float = 1.0  # of the output
    base: float = 2.0  # of the log-sum-exp
    nothing: float = NOTHING
    blank: float = 0.0  # the output where there is no key
    lost_head: bool = False  # the last head's log-sum-exp is -inf
    swapped: bool = False  # the first two heads
    tiled: bool = False  # query heads share KV heads by remainder, not by quotient
    maximum: bool = True
    pages: str = ""  # "ordered", "consecutive", "but the last", "full"
    half: bool = False  # sums in float16
    block: int = 512  # keys at a time
    padding: bool = False  # -1 is a slot
    no_rope: bool = False

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """output, lse."""
        inputs = dict(zip(self.definition.inputs, arguments, strict=True))
        q = inputs["q_nope"] if "q_nope" in inputs else inputs["q"]
        width = inputs["v"].shape[-1] if "v" in inputs else q.shape[-1]
        output = torch.full((*q.shape[:2], width), self.blank, dtype=q.dtype)
        lse = torch.full(q.shape[:2], self.nothing)
        scale = float(inputs["sm_scale"]) * self.factor
        for request in self.requests(inputs):
            if len(request.k) and len(request.q):
                out, log = self.attend(request, scale)
                output[request.rows] = (out * self.gain).to(q.dtype)
                lse[request.rows] = log / math.log(self.base)
        if self.lost_head:
            lse[:, -1] = -math.inf
        if self.swapped:
            output[:, :2] = output[:, [1, 0]]
        return output, lse

    def attend(self, request: Request, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        """[m, H, e] and the natural log-sum-exp [m, H]."""
        m, heads, _ = request.q.shape
        n, kv_heads, _ = request.k.shape
        head = torch.arange(heads)
        head = head % kv_heads if self.tiled else head // (heads // kv_heads)
        q = request.q.float().transpose(0, 1)
        top = torch.full((heads, m, 1), -math.inf)
        total, out = torch.zeros(heads, m, 1), torch.zeros(heads, m, request.v.shape[2])
        for start in range(0, n, self.block):
            part = slice(start, start + self.block)
            k, v = (x[part].float().transpose(0, 1)[head] for x in (request.k, request.v))
            logits = (q @ k.transpose(1, 2)) * scale
            logits = logits.masked_fill(~self.seen(m, n)[:, part], -math.inf)
            high = torch.maximum(top, logits.amax(dim=-1, keepdim=True))
            shift = high.masked_fill(high.isinf(), 0.0) if self.maximum else torch.zeros_like(high)
            p = torch.exp(logits - shift)
            decay = torch.exp(top - shift) if self.maximum else 1.0
            total = total * decay + p.sum(dim=-1, keepdim=True)
            out = out * decay + p.to(self.weights).float() @ v
            if self.half:
                out, total = out.half().float(), total.half().float()
            top = high
        shift = top.masked_fill(top.isinf(), 0.0) if self.maximum else torch.zeros_like(top)
        out, log = out / total, shift + total.log()
        empty = total == 0
        out, log = out.masked_fill(empty, self.blank), log.masked_fill(empty, self.nothing)
        return out.transpose(0, 1), log[..., 0].transpose(0, 1)

    def seen(self, m: int, n: int) -> torch.Tensor:
        """[m, n]: which keys a query sees."""
        i, j = torch.arange(m)[:, None], torch.arange(n)
        mask = torch.ones(m, n, dtype=torch.bool)
        if "qo_indptr" in self.definition.inputs:
            mask = j <= i + (0 if self.top_left else n - m) + self.causal
        if self.dropped is not None:
            mask = mask & (j != self.dropped(n))
        return mask

    def requests(self, inputs: Inputs) -> Iterator[Request]:
        """The requests of a call."""
        if "sparse_indices" in inputs:
            yield from self._sparse(inputs)
            return
        keys, values = self._cache(inputs)
        q = self._queries(inputs)
        pointer = inputs["kv_indptr"].tolist()
        rows = inputs["qo_indptr"].tolist() if "qo_indptr" in inputs else range(len(q) + 1)
        for i in range(len(pointer) - 1):
            part = slice(rows[i], rows[i + 1])
            place = self._tokens(inputs, pointer[i], pointer[i + 1], i)
            if self.twice is not None and len(place):
                at = self.twice(len(place))
                place[at] = place[max(0, at - 1)]
            yield Request(part, q[part], keys[place], values[place])

    def _sparse(self, inputs: Inputs) -> Iterator[Request]:
        keys, values = self._cache(inputs)
        q = self._queries(inputs)
        for i, row in enumerate(inputs["sparse_indices"].long()):
            place = row.clamp(min=0) if self.padding else row[row >= 0]
            yield Request(slice(i, i + 1), q[i : i + 1], keys[place], values[place])

    def _tokens(self, inputs: Inputs, start: int, end: int, request: int) -> torch.Tensor:
        """The places of a request's tokens in the flattened cache."""
        if "kv_indices" not in inputs:
            return torch.arange(start, end)
        cache = inputs["k_cache"] if "k_cache" in inputs else inputs["ckv_cache"]
        size, ids = cache.shape[1], inputs["kv_indices"][start:end].long()
        if self.pages == "ordered":
            ids = torch.arange(start, end)
        if self.pages == "consecutive" and len(ids):
            ids = (ids[0] + torch.arange(len(ids))) % len(cache)
        count = len(ids) * size
        if "kv_last_page_len" in inputs and len(ids) and self.pages != "full":
            count -= size - int(inputs["kv_last_page_len"][request])
        if self.pages == "but the last" and len(ids):
            count = (len(ids) - 1) * size
        return (ids[:, None] * size + torch.arange(size)).view(-1)[:count]

    def _queries(self, inputs: Inputs) -> torch.Tensor:
        if "q_nope" not in inputs:
            return inputs["q"]
        pe = inputs["q_pe"] * (0.0 if self.no_rope else 1.0)
        return torch.cat([inputs["q_nope"], pe], dim=-1)

    def _cache(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        if "k" in inputs:
            return inputs["k"], inputs["v"]
        if "k_cache" in inputs:
            return inputs["k_cache"].flatten(0, 1), inputs["v_cache"].flatten(0, 1)
        ckv, kpe = inputs["ckv_cache"].flatten(0, 1), inputs["kpe_cache"].flatten(0, 1)
        return torch.cat([ckv, kpe], dim=-1)[:, None], ckv[:, None]


class Prescaled(Attention):
    """Right: the scale is multiplied into the queries, which are rounded again."""

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """output, lse."""
        inputs = dict(zip(self.definition.inputs, arguments, strict=True))
        for name in ("q", "q_nope", "q_pe"):
            if name in inputs:
                scaled = inputs[name] * (float(inputs["sm_scale"]) / math.log(2.0))
                inputs[name] = scaled.to(inputs[name].dtype)
        inputs["sm_scale"] = math.log(2.0)
        return super().__call__(*inputs.values())


class Sdpa(Attention):
    """Right: torch's own attention for the output."""

    def attend(self, request: Request, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        """[m, H, e] and the natural log-sum-exp [m, H]."""
        out, log = super().attend(request, scale)
        group = request.q.shape[1] // request.k.shape[1]
        q, k, v = (x.transpose(0, 1)[None] for x in (request.q, request.k, request.v))
        k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
        mask = self.seen(len(request.q), len(request.k))
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale
        )[0].transpose(0, 1)
        return out.float().masked_fill(~mask.any(dim=1)[:, None, None], 0.0), log


class Planned:
    """A kernel that plans once for a shape: an index tensor is the first call's for ever."""

    def __init__(self, definition: Definition, name: str) -> None:
        self.kernel = Attention(definition)
        self.place = list(definition.inputs).index(name)
        self.kept: dict[torch.Size, torch.Tensor] = {}

    def __call__(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """output, lse."""
        mine = arguments[self.place]
        first = self.kept.setdefault(mine.shape, mine.clone())
        return self.kernel(*arguments[: self.place], first, *arguments[self.place + 1 :])


def kinds() -> dict[str, tuple[Definition, Axes, Axes]]:
    """Each kind of attention with small axes and with one long request (two for dsa's tokens)."""
    grouped, latent = family("gqa_paged"), family("mla_paged")
    tokens = {"num_pages": 17000, "num_kv_indices": 16384, "len_indptr": 2}
    pages = {"num_pages": 1100, "num_kv_indices": 1024, "len_indptr": 2}
    ragged = {"len_indptr": 2, "total_q": 24, "total_kv": 16384}
    one, some = {"batch_size": 1}, {"total_q": 24}
    large = {
        "gqa_decode_ps1": (grouped.definition(4, 2, 64, 1, prefill=False), one | tokens),
        "gqa_decode_ps16": (grouped.definition(4, 2, 64, 16, prefill=False), one | pages),
        "gqa_prefill_ps1": (grouped.definition(4, 2, 64, 1, prefill=True), some | tokens),
        "gqa_prefill_ps16": (grouped.definition(4, 2, 64, 16, prefill=True), one | some | pages),
        "gqa_ragged": (family("gqa_ragged").definition(4, 2, 64), ragged),
        "mla_ragged": (family("mla_ragged").definition(2, 96, 64), ragged),
        "mla_decode_ps1": (latent.definition(2, 512, 64, 1, prefill=False), one | tokens),
        "mla_prefill_ps16": (latent.definition(2, 512, 64, 16, prefill=True), one | some | pages),
        "dsa": (
            family("dsa_paged").sparse(2, 512, 64, 2048, 1),
            {"num_tokens": 2, "num_pages": 16384},
        ),
    }
    small = {name: family(d.op_type).small_axes(d) for name, (d, _) in large.items()}
    return {name: (d, small[name], axes) for name, (d, axes) in large.items()}


def flaws(definition: Definition) -> dict[str, dict[str, Any]]:
    """Name -> the fields of a wrong kernel."""
    found: dict[str, dict[str, Any]] = {
        "first token dropped": {"dropped": lambda n: 0},
        "middle token dropped": {"dropped": lambda n: n // 2},
        "last token dropped": {"dropped": lambda n: n - 1},
        "scale off by 2 %": {"factor": 1.02},
        "output off by 2 %": {"gain": 1.02},
        "lse in base e": {"base": math.e},
        "lost head": {"lost_head": True},
        "heads swapped": {"swapped": True},
        "no maximum": {"maximum": False},
    }
    if "sparse_indices" in definition.inputs:
        found["padding is slot 0"] = {"padding": True}
    else:
        found["token taken twice"] = {"twice": lambda n: n // 2}
    if "qo_indptr" in definition.inputs:
        found["causal mask one too far"] = {"causal": 1}
        found["causal mask one short"] = {"causal": -1}
        found["causal mask top-left"] = {"top_left": True}
    if "kv_last_page_len" in definition.inputs:
        found["last page ignored"] = {"pages": "but the last"}
        found["last page read to its end"] = {"pages": "full"}
    if "kv_indices" in definition.inputs:
        found["pages in the order of the cache"] = {"pages": "ordered"}
        found["pages that follow the first"] = {"pages": "consecutive"}
    if definition.const_axes.get("num_kv_heads", 1) not in (
        1,
        definition.const_axes["num_qo_heads"],
    ):
        found["heads grouped by remainder"] = {"tiled": True}
    if "q_nope" in definition.inputs:
        found["rope part left out"] = {"no_rope": True}
    return found


# Of long requests only: a dozen terms fit any type.
LONG_FLAWS: dict[str, dict[str, Any]] = {"sums in float16": {"half": True, "block": 16}}
# Where a call has a request without keys, as every call with two requests has in a probe.
EMPTY_FLAWS: dict[str, dict[str, Any]] = {
    "finite lse of no key": {"nothing": -1e30},
    "flashinfer's lse of no key": {"nothing": -5e4},
    "zero lse of no key": {"nothing": 0.0},
    "output of no key": {"blank": 1.0},
}
