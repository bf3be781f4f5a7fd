"""Every gotcha solution is named by its codes, and by no others; right solutions by none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernelkit.solutions.check.codes import CODES, Finding
from kernelkit.solutions.check.static import check_static

from .conftest import GOTCHAS, build_spec, codes, definition, gotchas, source

KNOWN = gotchas()


def sources_of(name: str) -> dict[str, str]:
    """main.py and the further files of a gotcha solution."""
    return {"main.py": source(name), **KNOWN[name].get("files", {})}


def test_the_manifest_names_every_file() -> None:
    assert {path.stem for path in GOTCHAS.glob("*.py")} == set(KNOWN)


def test_static_codes(gotcha: str) -> None:
    entry = KNOWN[gotcha]
    spec = build_spec(**entry.get("spec", {}))
    found = check_static(spec, definition(entry["definition"]), sources_of(gotcha))
    assert sorted(set(codes(found))) == entry["finds"], found


def test_each_wrong_solution_is_named() -> None:
    named = [name for name, entry in KNOWN.items() if entry["finds"] or entry["smoke"]]
    assert len(named) == sum(not name.startswith("right_") for name in KNOWN)
    shown = [name for name in named if KNOWN[name]["smoke"]]
    assert len(shown) >= 30, "these are shown to be wrong by a run on the CPU"


def test_findings_have_a_line_and_a_message(gotcha: str) -> None:
    entry = KNOWN[gotcha]
    spec = build_spec(**entry.get("spec", {}))
    for finding in check_static(spec, definition(entry["definition"]), sources_of(gotcha)):
        assert finding.line and finding.message and CODES[finding.code].fix
        assert finding.place.split(":")[0] in sources_of(gotcha)


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    """Settings that a solution changes are put back."""
    torch = pytest.importorskip("torch")
    allowed = torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32 = allowed


@pytest.mark.parametrize("gotcha", [n for n, e in KNOWN.items() if e["smoke"] is not None])
def test_smoke_codes(gotcha: str, tmp_path: Path, torch_as_it_was: None) -> None:
    from kernelkit.solutions.check.smoke import lay_out
    from kernelkit.solutions.check.smoke_worker import run_job

    entry = KNOWN[gotcha]
    lay_out(tmp_path, sources_of(gotcha))
    found: list[Finding] = []
    spec = build_spec(**entry.get("spec", {}))
    job: dict[str, Any] = {
        "spec": spec.model_dump(mode="json"), "device": "cpu", "seconds": 60.0,
        "definition": definition(entry["definition"]).to_text(),
    }  # fmt: skip
    run_job(tmp_path, job, lambda code, text: found.append(Finding(code, "main.py", text)))
    assert sorted(set(codes(found, notes=True))) == entry["smoke"], found
