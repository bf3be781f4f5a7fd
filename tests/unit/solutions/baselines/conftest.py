"""Stand-ins for the functions of FlashInfer that baselines call, in PyTorch, on a CPU.

Each follows FlashInfer's documentation, not the references. Each call is recorded under its dotted
path, so that a test can hold it against the signatures of the FlashInfer that is installed.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

import fi_attention  # noqa: E402
import fi_pointwise  # noqa: E402
import fi_recurrent  # noqa: E402
from small_definitions import small_definitions  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402

NUMBERS = itertools.count()
Call = tuple[str, tuple[Any, ...], dict[str, Any]]

STANDINS: dict[str, Any] = {
    "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper": fi_attention.Decode,
    "flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper": fi_attention.Prefill,
    "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper": fi_attention.Ragged,
    "flashinfer.mla.BatchMLAPagedAttentionWrapper": fi_attention.Mla,
    **{
        f"flashinfer.{module}.{name}": getattr(standins, name)
        for standins, module, names in (
            (fi_pointwise, "norm", ("rmsnorm", "gemma_rmsnorm", "fused_add_rmsnorm",
                                    "gemma_fused_add_rmsnorm")),
            (fi_pointwise, "sampling", ("top_k_sampling_from_probs", "top_p_sampling_from_probs",
                                        "top_k_top_p_sampling_from_probs")),
            (fi_pointwise, "rope", ("apply_rope_with_cos_sin_cache",)),
            (fi_recurrent, "gdn_decode", ("gated_delta_rule_decode_pretranspose",
                                          "gated_delta_rule_mtp")),
            (fi_recurrent, "gdn_prefill", ("chunk_gated_delta_rule",)),
            (fi_recurrent, "mamba", ("selective_state_update",)),
            (fi_recurrent, "fused_moe", ("cutlass_fused_moe",)),
        )
        for name in names
    },
}  # fmt: skip


def recorded(path: str, target: Any, calls: list[Call]) -> Any:
    """The stand-in, which writes down each call; of a class its constructor, plan and run."""
    if not inspect.isclass(target):

        def function(*args: Any, **kwargs: Any) -> Any:
            calls.append((path, args, kwargs))
            return target(*args, **kwargs)

        return function

    def method(name: str) -> Callable[..., Any]:
        def called(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append((f"{path}.{name}", (self, *args), kwargs))
            return getattr(target, name)(self, *args, **kwargs)

        return called

    members = {name: method(name) for name in ("__init__", "plan", "run")}
    return type(target.__name__, (target,), members)


@pytest.fixture(scope="session")
def signatures() -> dict[str, inspect.Signature | str]:
    """The signature of each API, and of the methods of its classes, in the FlashInfer that is
    installed; a text says why there is none."""
    found: dict[str, inspect.Signature | str] = {}
    for path, standin in STANDINS.items():
        names = ["__init__", "plan", "run"] if inspect.isclass(standin) else [""]
        for name in names:
            found[f"{path}.{name}".rstrip(".")] = _signature(path, name)
    return found


def _signature(path: str, method: str) -> inspect.Signature | str:
    module, _, name = path.rpartition(".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        return f"{module} cannot be imported: {error}"
    return inspect.signature(getattr(found, method) if method else found)


@pytest.fixture
def calls(signatures: object, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Puts the stand-ins in FlashInfer's place; what they are called with."""
    made: list[Call] = []
    monkeypatch.setitem(sys.modules, "flashinfer", types.ModuleType("flashinfer"))
    for path, standin in STANDINS.items():
        name, _, attribute = path.rpartition(".")
        module = sys.modules.get(name)
        if module is None or getattr(module, "standin", None) is not made:
            module = types.ModuleType(name)
            module.standin = made
            monkeypatch.setitem(sys.modules, name, module)
        setattr(module, attribute, recorded(path, standin, made))
    return made


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Solution], Any]:
    """Unpack a solution and import its main.py as a package's module; small workspaces."""

    def loaded(solution: Solution) -> types.ModuleType:
        name = f"baseline_{next(NUMBERS)}"
        for source in solution.sources:
            path = tmp_path / name / source.path
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.content.replace("WORKSPACE_BYTES = 268435456", "WORKSPACE_BYTES = 1024")
            path.write_text(text, encoding="utf-8")
        package = types.ModuleType(name)
        package.__path__ = [str(tmp_path / name)]
        monkeypatch.setitem(sys.modules, name, package)
        return importlib.import_module(f"{name}.main")

    return loaded


SMALL = small_definitions()


@pytest.fixture(scope="session")
def smalls() -> list[Definition]:
    """Small definitions of every family and form."""
    return SMALL


@pytest.fixture(params=SMALL, ids=lambda definition: definition.name)
def small(request: pytest.FixtureRequest) -> Definition:
    """Each of the small definitions."""
    return request.param


PLANNED = [d for d in SMALL if "attention" in d.name or d.op_type.startswith(("gqa_", "mla_"))]


@pytest.fixture(params=PLANNED, ids=lambda definition: definition.name)
def planned(request: pytest.FixtureRequest) -> Definition:
    """Those whose baselines plan in setup()."""
    return request.param
