"""On a CUDA device live FlashInfer calls are routed to deployed solutions, with the same result.

Needs flashinfer-python 0.7.2 or newer. The solutions are the references: what is tested is the way
from FlashInfer's call to the solution and back, against FlashInfer's own kernel.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.publish.deploy import curated, live  # noqa: E402
from kernelkit.publish.deploy.choosing import Choice  # noqa: E402
from kernelkit.publish.deploy.routes import Route, route_of  # noqa: E402

pytestmark = pytest.mark.gpu
ROUTED = [
    family("rmsnorm").definition(4096, 1e-6),
    family("rmsnorm").definition(4096, 1e-6, fused=True),
    family("rmsnorm").definition(4096, 1e-6, gemma=True),
    family("gqa_paged").definition(32, 8, 128, 1, prefill=False),
    family("gqa_paged").definition(32, 8, 128, 1, prefill=True),
    family("gqa_ragged").definition(32, 8, 128),
    family("mla_ragged").definition(16, 192, 128),
    family("mla_paged").definition(16, 512, 64, 1, prefill=False),
    *(family("sampling").definition(kind, 32000) for kind in ("top_k", "top_p", "top_k_top_p")),
]
LIMIT_SECONDS = 540.0  # FlashInfer compiles at the first call


@pytest.fixture
def trace_apply() -> None:
    """Skips where FlashInfer has no Trace Apply."""
    found = importlib.util.find_spec("flashinfer")
    folder = Path(next(iter(found.submodule_search_locations))) if found else Path()
    if not (folder / "trace_apply").is_dir():
        pytest.skip("needs flashinfer-python 0.7.2 or newer")


def choice(definition: Definition) -> Choice:
    """The definition's reference, deployed."""
    made = Solution.model_validate({
        "name": f"own_{definition.name}", "definition": definition.name, "author": "tests",
        "spec": {"language": "python", "target_hardware": ["cuda"], "dependencies": ["torch"],
                 "entry_point": "main.py::run", "destination_passing_style": False},
        "sources": [{"path": "main.py", "content": definition.reference}],
    })  # fmt: skip
    route = route_of(definition)
    assert isinstance(route, Route)
    return Choice(definition, route, made)


@pytest.mark.parametrize("definition", ROUTED, ids=lambda definition: definition.name)
def test_a_live_call_is_routed_and_right(
    trace_apply: None, definition: Definition, tmp_path: Path
) -> None:
    chosen = [choice(definition)]
    curated.write(tmp_path / "apply", curated.files(chosen, "tests"), [])
    (verdict,) = live.check(tmp_path / "apply", chosen, "cuda:0", LIMIT_SECONDS)
    assert verdict["status"] == "PASSED" and verdict["hits"] >= 1, verdict["message"]
    assert verdict["message"] == "as the reference and as FlashInfer"
