"""What the checker knows about a value: whose memory it may be, what it was computed from, and how.

The knowledge is one-sided: `sure` is set only where torch's documented behaviour leaves no doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_STEPS = 12

# Operations that return a view of their first operand.
VIEWS = frozenset(
    "view view_as transpose permute squeeze unsqueeze expand expand_as t T mT H mH detach narrow "
    "select swapaxes swapdims movedim moveaxis unflatten chunk split unbind diagonal data real "
    "tensor_split unfold as_strided split_with_sizes requires_grad_ broadcast_to".split()
)
# Views after which rows need not follow each other in memory.
SHUFFLES = frozenset(
    "transpose permute expand expand_as t T mT H mH swapaxes swapdims movedim moveaxis as_strided "
    "unfold broadcast_to chunk split tensor_split narrow".split()
)
# A view where the layout allows it, else a copy.
MERGE = "merge"  # a view or reshape that makes one axis of the first two
RESHAPES = frozenset((*"reshape reshape_as flatten ravel contiguous".split(), MERGE))
CASTS = {
    "float": "float32", "half": "float16", "bfloat16": "bfloat16", "double": "float64",
    "long": "int64", "int": "int32", "short": "int16", "char": "int8", "bool": "bool",
}  # fmt: skip
DTYPES = frozenset(CASTS.values()) | {"float8_e4m3fn", "float8_e5m2", "uint8"}
EMPTY = frozenset("empty empty_like empty_strided new_empty empty_permuted".split())
FILLED = frozenset(
    "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full rand randn "
    "randint arange linspace tensor as_tensor clone copy".split()
)
# In place, and without reading what was there.
PLAIN_WRITES = frozenset(
    "copy_ fill_ zero_ masked_fill_ index_copy_ index_fill_ index_put_ scatter_ normal_ uniform_ "
    "random_ exponential_ bernoulli_ masked_scatter_ set_".split()
)
# Operations whose result has the type of their first operand, and those where all must agree.
KEEPS_FIRST = frozenset(
    "relu sigmoid silu gelu exp exp2 log log2 softmax log_softmax softplus tanh sqrt rsqrt square "
    "abs neg pow sum mean amax amin cumsum clamp masked_fill gather index_select repeat tile flip "
    "repeat_interleave roll tril triu nan_to_num logsumexp normalize".split()
)
KEEPS_COMMON = frozenset(
    "matmul mm bmm mv dot einsum linear add sub mul div addcmul lerp rms_norm layer_norm baddbmm "
    "addmm where".split()
)
METADATA = frozenset("shape device dtype ndim is_cuda layout is_cpu itemsize nbytes".split())
HOST_READS = frozenset("item tolist cpu numpy nonzero".split())


@dataclass(frozen=True)
class Value:
    """Knowledge about one expression.

    alias   arguments of `run` whose memory this is (sure) or may be
    data    arguments whose contents it depends on
    dtype   its element type, where known
    made    what made it: argument, scalar, empty, filled, a function's name, ...
    token   identity of memory allocated in the solution (the position of the call), 0 for none
    steps   operations since then on the main operand
    parts   elements of a tuple, operands of a concatenation
    """

    alias: frozenset[str] = frozenset()
    sure: bool = False
    data: frozenset[str] = frozenset()
    dtype: str = ""
    made: str = ""
    token: str = ""
    steps: tuple[str, ...] = ()
    parts: tuple[Value, ...] = ()

    def step(self, name: str, *, sure: bool | None = None, **changes: object) -> Value:
        """This value behind one more operation."""
        held = self.sure if sure is None else self.sure and sure
        steps = (*self.steps, name)[-MAX_STEPS:]
        return replace(self, steps=steps, sure=held, parts=(), **changes)  # type: ignore[arg-type]

    def fresh(self, name: str, dtype: str | None = None) -> Value:
        """New memory computed from this value."""
        steps = (*self.steps, name)[-MAX_STEPS:]
        kept = self.dtype if dtype is None else dtype
        return Value(data=self.data, made=name, steps=steps, dtype=kept)

    @property
    def shuffled(self) -> bool:
        """Whether a view step may have left it without contiguous rows."""
        last = max((i for i, s in enumerate(self.steps) if s in SHUFFLES), default=-1)
        return last >= 0 and "contiguous" not in self.steps[last:]


UNKNOWN = Value()


def join(one: Value, other: Value) -> Value:
    """What holds of a value that is one or the other."""
    if one == other:
        return one
    return Value(
        alias=one.alias | other.alias,
        sure=one.sure and other.sure and one.alias == other.alias,
        data=one.data | other.data,
        dtype=one.dtype if one.dtype == other.dtype else "",
        made=one.made if one.made == other.made else "",
        token=one.token if one.token == other.token else "",
        steps=one.steps if one.steps == other.steps else (),
    )


def mixed(values: list[Value], made: str) -> Value:
    """A new value computed from several."""
    data = frozenset().union(*(value.data for value in values)) if values else frozenset()
    return Value(data=data, made=made)


def result_dtype(name: str, operands: list[Value]) -> str:
    """The floating type of an operation's result, where the operands' types decide it."""
    first = operands[0].dtype if operands and name in KEEPS_FIRST else ""
    found = common_dtype(operands) if name in KEEPS_COMMON else first
    return found if found.startswith(("float", "bfloat")) else ""


def common_dtype(operands: list[Value]) -> str:
    """The type that all tensors among the operands have; "" where that is open."""
    tensors = [v for v in operands if v.made not in ("scalar", "host", "none", "metadata")]
    kinds = {v.dtype for v in tensors}
    return kinds.pop() if len(kinds) == 1 else ""


def apply(base: Value, name: str, dtype: str | None) -> Value:
    """The result of operation `name` on `base`; `dtype` is what a cast asks for (None: no cast)."""
    if name in VIEWS:
        return base.step(name)
    if name in RESHAPES:
        return base.step(name, sure=not base.shuffled)
    if name in ("to", "type", "type_as") or name in CASTS:
        return _cast(base, name, CASTS.get(name, dtype))
    if name in ("cpu", "cuda"):
        return base.step(name, sure=False)
    return base.fresh(name, "" if dtype is None else dtype)


def _cast(base: Value, name: str, dtype: str | None) -> Value:
    """A copy where the type changes, the tensor itself where it does not."""
    if not dtype or not base.dtype:
        return base.step(name, sure=False, dtype=dtype or base.dtype)
    if dtype != base.dtype:
        return base.fresh(name, dtype)
    return base.step(name)
