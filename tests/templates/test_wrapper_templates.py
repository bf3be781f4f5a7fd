"""The wrappers of FlashInfer and flash-linear-attention over stand-ins that need no GPU.

A stand-in follows the library's documentation, for the one call that the template makes.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.isolation.calling import name_outputs  # noqa: E402
from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.templates import FOLDER, Template  # noqa: E402

GQA = family("gqa_paged").definition(32, 8, 128, 1, prefill=False)
GDN = family("gdn").definition(4, 8, 128, stage="decode")
GDN_PREFILL = family("gdn").definition(4, 8, 128, stage="prefill")
Module = types.ModuleType
Load = Callable[[str], Module]


@pytest.fixture
def load_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Unpack a template into a package of its own and import its main.py."""

    def loaded(name: str) -> Module:
        for source in Template.read(FOLDER / f"{name}.json").document()["sources"]:
            path = tmp_path / name / source["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source["content"])
        package = Module(f"unpacked_{name}")
        package.__path__ = [str(tmp_path / name)]
        monkeypatch.setitem(sys.modules, package.__name__, package)
        monkeypatch.delitem(sys.modules, f"{package.__name__}.main", raising=False)
        return importlib.import_module(f"{package.__name__}.main")

    return loaded


def reference(definition: Definition, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the definition's own text gives."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    return name_outputs(scope["run"](*inputs.values()), list(definition.outputs))


def fault(definition: Definition, got: object, inputs: dict[str, Any]) -> str:
    """How the outputs differ from the reference's, at the family's tolerance; empty if not."""
    tolerance = family(definition.op_type).tolerance(definition)
    outputs = name_outputs(got, list(definition.outputs))
    verdict = compare(outputs, reference(definition, inputs), tolerance)
    return "" if verdict.status.value == "PASSED" else f"{verdict.status}: {verdict.message}"


# FlashInfer's wrapper


class FakeWrapper:
    """BatchDecodeWithPagedKVCacheWrapper as documented: plan() fixes the tables, run() uses them,
    base-2 LSE; rows of empty requests hold whatever was there."""

    plans = 0

    def __init__(self, workspace: torch.Tensor, layout: str, use_tensor_cores: bool) -> None:
        assert layout == "NHD" and workspace.dtype is torch.uint8 and not workspace.any()
        assert use_tensor_cores

    def plan(self, indptr: torch.Tensor, indices: torch.Tensor, last: torch.Tensor,
             *shape: int, q_data_type: Any, kv_data_type: Any, sm_scale: float
             ) -> None:  # fmt: skip
        assert shape == (32, 8, 128, 1) and q_data_type is kv_data_type is torch.bfloat16
        assert (
            last.dtype is torch.int32 and last.tolist() == torch.diff(indptr).clamp(max=1).tolist()
        )
        type(self).plans += 1
        self.tables, self.scale = (indptr, indices), sm_scale

    def run(self, q: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], *, q_scale: float,
            return_lse: bool) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert return_lse
        values = dict(zip(GQA.inputs, (q, *cache, *self.tables, self.scale * q_scale), strict=True))
        output, lse = reference(GQA, values).values()
        empty = torch.diff(self.tables[0]) == 0
        return output.masked_fill(empty[:, None, None], 7.0), lse.masked_fill(empty[:, None], 7.0)


@pytest.fixture
def wrapper(load_template: Load, monkeypatch: pytest.MonkeyPatch) -> Module:
    """The template over the stand-in."""
    package, decode = Module("flashinfer"), Module("flashinfer.decode")
    decode.BatchDecodeWithPagedKVCacheWrapper = FakeWrapper
    monkeypatch.setitem(sys.modules, "flashinfer", package)
    monkeypatch.setitem(sys.modules, "flashinfer.decode", decode)
    monkeypatch.setattr(FakeWrapper, "plans", 0)
    return load_template("flashinfer_wrapper")


def paged(lengths: list[int], seed: int = 0) -> dict[str, Any]:
    """Inputs of GQA with these cached tokens a request."""
    tokens = sum(lengths)
    axes = {"batch_size": len(lengths), "len_indptr": len(lengths) + 1,
            "num_kv_indices": tokens, "num_pages": 64}  # fmt: skip
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
    given = {"kv_indptr": torch.tensor([0, *lengths]).cumsum(0).to(torch.int32),
             "kv_indices": order[:tokens].to(torch.int32), "sm_scale": 0.11}  # fmt: skip
    return family("gqa_paged").make_inputs(GQA, axes, seed=seed, given=given)


def passes(module: Module, inputs: dict[str, Any]) -> bool:
    """Whether run() gives what the reference gives."""
    return not fault(GQA, module.run(*inputs.values()), inputs)


@pytest.mark.parametrize("lengths", [[1], [5, 0, 3], [0, 0, 2], [0], [0, 0], [17] * 3])
def test_wrapper_without_setup(wrapper: Module, lengths: list[int]) -> None:
    assert passes(wrapper, paged(lengths))


def test_wrapper_plans_once_for_equal_tables(wrapper: Module) -> None:
    first, again = paged([5, 0, 3]), paged([5, 0, 3])
    assert passes(wrapper, first) and passes(wrapper, again)
    assert FakeWrapper.plans == 1


@pytest.mark.parametrize("name", ["kv_indptr", "kv_indices"])
def test_wrapper_sees_tables_that_change_in_place(wrapper: Module, name: str) -> None:
    inputs, other = paged([5, 0, 3]), paged([2, 5, 1], seed=1)
    assert passes(wrapper, inputs)
    inputs[name].copy_(other[name])
    assert passes(wrapper, inputs)


def test_wrapper_is_planned_by_setup(wrapper: Module) -> None:
    for inputs in (paged([5, 0, 3]), paged([2, 5, 1], seed=1), paged([8], seed=2)):
        wrapper.setup(inputs["kv_indptr"], inputs["kv_indices"])
        before = FakeWrapper.plans
        assert passes(wrapper, inputs)
        assert passes(wrapper, {name: _copy(value) for name, value in inputs.items()})
        assert FakeWrapper.plans == before


def test_wrapper_does_not_read_tables_after_setup(
    wrapper: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = paged([5, 2, 3])
    wrapper.setup(inputs["kv_indptr"], inputs["kv_indices"])
    monkeypatch.setattr(torch, "equal", None)  # a wait for the device
    assert wrapper.PLANNED[torch.device("cpu")].covers(inputs["kv_indptr"], inputs["kv_indices"])


def test_wrapper_replans_for_other_shapes_after_setup(wrapper: Module) -> None:
    planned, other = paged([5, 0, 3]), paged([2, 5], seed=1)
    wrapper.setup(planned["kv_indptr"], planned["kv_indices"])
    assert passes(wrapper, other)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


# flash-linear-attention


def fake_rule(option: str) -> Callable[..., Any]:
    """fused_recurrent_gated_delta_rule as documented, for one token: states [K, V], or [V, K] with
    `option`; beta as it is, g raw with use_gate_in_kernel, value heads grouped."""

    def rule(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, beta: torch.Tensor,
        scale: float, initial_state: torch.Tensor | None, output_final_state: bool,
        use_gate_in_kernel: bool, A_log: torch.Tensor, dt_bias: torch.Tensor, **options: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert use_gate_in_kernel and output_final_state and set(options) <= {option}
        batch, _, heads, dim = v.shape
        q, k = (x[:, 0].float().repeat_interleave(heads // x.shape[2], 1) for x in (q, k))
        state = torch.zeros(batch, heads, k.shape[-1], dim)
        if initial_state is not None:
            state = initial_state.transpose(2, 3) if options.get(option) else initial_state
        log_decay = -A_log.exp() * torch.nn.functional.softplus(g[:, 0].float() + dt_bias)
        state = state * log_decay.exp()[..., None, None]
        old = torch.einsum("bhkv,bhk->bhv", state, k)
        delta = beta[:, 0, :, None] * (v[:, 0].float() - old)
        state = state + k[..., None] * delta[:, :, None]
        output = torch.einsum("bhkv,bhk->bhv", state, q * scale)[:, None].to(v.dtype)
        return output, state.transpose(2, 3) if options.get(option) else state

    kinds = [p for p in inspect.signature(rule).parameters.values() if p.kind is not p.VAR_KEYWORD]
    named = [*kinds, kinds[0].replace(name=option, default=False, kind=kinds[0].KEYWORD_ONLY)]
    rule.__signature__ = inspect.Signature(named)
    return rule


def fake_chunks(option: str) -> Callable[..., Any]:
    """chunk_gated_delta_rule as documented: one row of sequences, token by token through the other.
    A tensor of starts is read, as the library reads it, on the host."""
    one = fake_rule(option)

    def rule(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, beta: torch.Tensor,
        scale: float, initial_state: torch.Tensor | None, cu_seqlens: torch.Tensor, **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        assert len(q) == 1 and cu_seqlens.dtype == torch.int64
        output, states = torch.empty_like(v), []
        for number, (begin, end) in enumerate(itertools.pairwise(cu_seqlens.tolist())):
            state = None if initial_state is None else initial_state[number : number + 1]
            for t in range(begin, end):
                row = slice(t, t + 1)
                output[:, row], state = one(
                    q[:, row], k[:, row], v[:, row], g[:, row], beta[:, row], scale, state,
                    **options,
                )  # fmt: skip
            states.append(state)
        return output, torch.cat(states)

    rule.__signature__ = inspect.signature(one)
    return rule


@pytest.fixture
def fla(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a stand-in in place of flash-linear-attention."""

    def install(option: str) -> None:
        names = ("fla", "fla.ops", "fla.ops.gated_delta_rule")
        modules = [Module(name) for name in names]
        modules[-1].fused_recurrent_gated_delta_rule = fake_rule(option)
        modules[-1].chunk_gated_delta_rule = fake_chunks(option)
        for name, module in zip(names, modules, strict=True):
            monkeypatch.setitem(sys.modules, name, module)

    return install


@pytest.mark.parametrize("option", ["transpose_state_layout", "state_v_first"])
@pytest.mark.parametrize(
    "given", [{}, {"scale": 0.0}, {"scale": None, "state": None}, {"scale": 0.5}]
)
def test_linear_attention(
    load_template: Load, fla: Callable[[str], None], option: str, given: dict[str, Any]
) -> None:
    fla(option)
    inputs = family("gdn").make_inputs(GDN, {"batch_size": 3}, seed=1, given=given)
    before = {name: _copy(value) for name, value in inputs.items()}
    assert not fault(GDN, load_template("linear_attention").run(*inputs.values()), inputs)
    for name, value in before.items():
        same = torch.equal(value, inputs[name]) if isinstance(value, torch.Tensor) else True
        assert same, f"{name} was written"


@pytest.mark.parametrize("given", [{}, {"scale": None, "state": None}])
def test_linear_attention_over_sequences(
    load_template: Load, fla: Callable[[str], None], given: dict[str, Any]
) -> None:
    fla("transpose_state_layout")
    axes = {"total_seq_len": 9, "num_seqs": 3, "len_cu_seqlens": 4}
    lengths = {"cu_seqlens": torch.tensor([0, 2, 8, 9])}
    inputs = family("gdn").make_inputs(GDN_PREFILL, axes, seed=1, given={**lengths, **given})
    run = load_template("linear_attention_prefill").run
    assert not fault(GDN_PREFILL, run(*inputs.values()), inputs)


@pytest.mark.parametrize("name", ["linear_attention", "linear_attention_prefill"])
def test_linear_attention_names_the_version_it_needs(
    load_template: Load, fla: Callable[[str], None], name: str
) -> None:
    fla("another_option")
    with pytest.raises(ImportError, match="flash-linear-attention 0.5.0"):
        load_template(name)


# CuTe DSL


def test_cute_dsl_names_the_package_it_needs(
    load_template: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cutlass", None)
    with pytest.raises(ImportError, match="nvidia-cutlass-dsl"):
        load_template("cute_dsl")
