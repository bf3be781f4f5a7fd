"""Smoke runs: each way in which a reference can fail, and that one cannot stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.smoke import run_once, smoke  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.errors import MissingDependencyError  # noqa: E402
from kernelkit.ops import family  # noqa: E402

NORM = family("rmsnorm").definition(8, 1e-6)
HEAD = "import torch, time, os\n\ndef run(hidden_states, weight):\n"


def text(body: str, **changes: object) -> Definition:
    """The norm with another body."""
    return NORM.model_copy(update={"reference": HEAD + f"    {body}\n", **changes})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return hidden_states * weight", None),
        ("raise ValueError('no')", "R14"),
        ("return hidden_states * float('nan')", "R14"),
        ("return hidden_states.float()", "R15"),
        ("return hidden_states[:1]", "R15"),
        ("return hidden_states, weight", "R15"),
        ("return 3", "R15"),
        ("return hidden_states - float('inf')", "R14"),
        ("weight.resize_(0)\n    return hidden_states", "R12"),
        ("hidden_states.zero_()\n    return hidden_states", "R12"),
    ],
)
def test_one_reference(body: str, code: str | None) -> None:
    assert [problem[0] for problem in run_once(text(body))] == ([code] if code else [])


def test_minus_infinity_is_an_lse() -> None:
    outputs = {"output": NORM.outputs["output"], "lse": NORM.outputs["output"]}
    body = "return hidden_states, hidden_states - float('inf')"
    assert run_once(text(body, outputs=outputs)) == []
    swapped = run_once(text("return hidden_states - float('inf'), weight", outputs=outputs))
    assert [problem[:2] for problem in swapped][0] == ("R14", "outputs.output")


def test_a_worker_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(MissingDependencyError, match="did not start"):
        list(smoke([NORM]))


def test_packages_may_lie_in_folders_of_pythonpath(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kernelkit_test_package.py").write_text("FACTOR = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    body = "import kernelkit_test_package\n    return hidden_states * kernelkit_test_package.FACTOR"
    assert [problems for _, problems in smoke([text(body)])] == [[]]


def test_too_large_and_unknown_are_not_run() -> None:
    large = family("gemm").definition(1 << 20, 1 << 12)
    assert [problem[0] for problem in run_once(large)] == ["R16"]
    unknown = text("raise ValueError('inputs make no sense')", op_type="unheard_of")
    assert [problem[0] for problem in run_once(unknown)] == ["R16"]
    assert run_once(text("return hidden_states", op_type="unheard_of")) == []


def test_a_hang_and_a_crash_do_not_stop_the_rest() -> None:
    bodies = ["time.sleep(60)", "os._exit(3)", "print('noise')\n    return hidden_states"]
    results = [problems for _, problems in smoke([text(b) for b in bodies], seconds=4)]
    assert [[p[0] for p in problems] for problems in results] == [["R14"], ["R14"], []]
    assert "4 s" in results[0][0][2] and "died" in results[1][0][2]
