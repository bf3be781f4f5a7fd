"""The smoke run as a process: how it ends, what it says, and what it leaves alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.errors import MissingDependencyError, UsageError  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.check.codes import CODES, Finding  # noqa: E402
from kernelkit.solutions.check.smoke import lay_out, require, smoke  # noqa: E402
from kernelkit.solutions.check.smoke_inputs import emptied, options, without_tokens  # noqa: E402
from kernelkit.solutions.check.smoke_memory import allocations, same_bits  # noqa: E402
from kernelkit.solutions.check.smoke_worker import NEEDS_CUDA, Skip, run_job  # noqa: E402

from .conftest import DEFINITIONS, build_spec, codes, definition, gotchas, source  # noqa: E402

RIGHT = source("right_norm")


COUNT = """    run.calls = getattr(run, "calls", 0) + 1
    factor = 1.004 if run.calls % 2 else 1.0
"""


def run(text: str, key: str = "norm", seconds: float = 60.0, **spec: Any) -> list[Finding]:
    """The smoke run of one source in a process of its own."""
    return smoke(build_spec(**spec), definition(key), {"main.py": text}, "cpu", seconds)


def trials(folder: Path, text: str, key: str = "norm", **job: Any) -> list[str]:
    """The codes of the trials in this process."""
    lay_out(folder, {"main.py": text})
    spec = build_spec(destination_passing_style=job.pop("passing", False))
    whole = {"spec": spec.model_dump(mode="json"), "definition": definition(key).to_text(),
             "device": "cpu", "seconds": 60.0, **job}  # fmt: skip
    found: list[Finding] = []
    run_job(folder, whole, lambda code, message: found.append(Finding(code, "main.py", message)))
    return codes(found, notes=True)


def norm(body: str) -> str:
    """`body` before the right result."""
    return RIGHT.replace("    x = hidden", f"    {body}\n    x = hidden", 1)


def test_right_and_wrong_in_a_process(capfd: pytest.CaptureFixture[str]) -> None:
    before = set(os.listdir("."))
    assert run(norm("print('loud', file=open('left', 'w')); print('loud')")) == []
    assert set(os.listdir(".")) == before
    (one,) = run(RIGHT.replace("1e-6", "10.0"))
    assert one.code == "KS907" and "differ" in one.message and one.file == "main.py"
    assert capfd.readouterr().out == ""


def test_an_endless_loop_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "pid"
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(p.pid))\nwhile True: pass"
    )
    monkeypatch.setattr("kernelkit.solutions.check.smoke._WORKER", script)
    (one,) = run(RIGHT, seconds=4)
    assert one.code == "KS903" and "no end after 4 s" in one.message
    status = Path(f"/proc/{mark.read_text()}/status")
    for _ in range(50):
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child still runs")


def test_a_process_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os; print('last words', flush=True); os.kill(os.getpid(), 9)"
    monkeypatch.setattr("kernelkit.solutions.check.smoke._WORKER", script)
    (one,) = run(RIGHT)
    assert one.code == "KS903" and "signal 9: last words" in one.message


def test_what_was_found_before_an_exit_is_kept() -> None:
    again = "import os\n    run.calls = getattr(run, 'calls', 0) + 1\n"
    found = run(norm(f"{again}    os._exit(3) if run.calls > 1 else hidden_states.zero_()"))
    assert {"KS903", "KS909"} <= set(codes(found))
    assert any("exit code 3" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import nothing_of_that_name\n" + RIGHT, None),
        ("import nothing_of_that_name.sub\n" + RIGHT, None),
        ("from .absent import x\n" + RIGHT, "KS901"),
        ("raise ValueError('at import')\n" + RIGHT, "KS901"),
        ("raise SystemExit(2)\n" + RIGHT, "KS901"),
        ("run = 3\n", "KS901"),
        ("x = 3\n", "KS901"),
        ("raise RuntimeError('Found no NVIDIA driver on your system')\n" + RIGHT, None),
        (norm("raise RuntimeError('expected a CUDA tensor')"), None),
        (norm("raise RuntimeError('no')"), "KS902"),
        (norm("raise SystemExit(0)"), "KS902"),
        (RIGHT.replace("return (", "return 1, ("), "KS904"),
        (RIGHT.replace("return (", "return [1] or ("), "KS904"),
        (RIGHT.replace("return (x", "return (x[:1]"), "KS905"),
        (norm("with torch.cuda.device(hidden_states.device): pass"), "right"),
        (norm("torch.cuda.synchronize()"), "right"),
        (RIGHT.replace("    return (x", f"{COUNT}    return (factor * x"), "KS911"),
    ],
)
def test_each_outcome(tmp_path: Path, text: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(Skip):
            trials(tmp_path, text)
    else:
        assert trials(tmp_path, text) == ([] if code == "right" else [code])


INTO = """import torch


def run(A, B, C):
    C.addmm_(A, B.T, beta=BETA)
"""


@pytest.mark.parametrize("key", DEFINITIONS)
def test_references_pass(key: str, tmp_path: Path) -> None:
    assert trials(tmp_path, definition(key).reference, key) == []


def test_destinations(tmp_path: Path) -> None:
    right = INTO.replace("BETA", "0")
    assert trials(tmp_path / "a", right, "gemm", passing=True) == []
    assert trials(tmp_path / "b", INTO.replace("BETA", "1"), "gemm", passing=True) == ["KS912"]


SETUP = """

PLAN = {}


def setup(kv_indptr):
    PLAN["kept"] = kv_indptr.tolist()
"""


def test_setup(tmp_path: Path) -> None:
    base = source("right_gqa1") + SETUP
    taken = "    kv_indptr = PLAN.get('kept', kv_indptr)\n    output ="
    planned = base.replace("    output =", taken)
    first_only = planned.replace('PLAN["kept"] =', 'PLAN["kept"] = PLAN.get("kept") or')
    assert trials(tmp_path / "a", planned, "gqa1") == []
    assert trials(tmp_path / "b", first_only, "gqa1") == ["KS916"]
    assert trials(tmp_path / "c", base.replace("PLAN[", "NONE["), "gqa1") == ["KS916"]


def test_slow_calls_are_cut_short_and_say_so(tmp_path: Path) -> None:
    assert trials(tmp_path, RIGHT, seconds=0.0) == ["KS900"]


def test_large_definitions_are_not_run(tmp_path: Path) -> None:
    large = family("gemm").definition(1 << 20, 1 << 11).to_text()
    with pytest.raises(Skip, match="GiB"):
        trials(tmp_path, source("right_gemm"), definition=large)


def test_what_cannot_be_run_here_is_named() -> None:
    found = smoke(build_spec(language="cuda", entry_point="k.cu::run"), definition("norm"),
                  {"k.cu": "x"}, "cpu", 60)  # fmt: skip
    assert codes(found, notes=True) == ["KS900"] and "built first" in found[0].message
    unsafe = smoke(build_spec(), definition("norm"), {"main.py": "", "../x.py": ""}, "cpu", 60)
    assert codes(unsafe, notes=True) == ["KS900"]


def test_triton_runs_in_its_interpreter() -> None:
    pytest.importorskip("triton")
    assert codes(run(source("narrow_offsets"), language="triton")) == []


def test_devices() -> None:
    require("cpu")
    with pytest.raises(UsageError):
        require("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(MissingDependencyError, match="no such CUDA device"):
            require("cuda:1")


def test_messages_that_ask_for_a_gpu() -> None:
    for message in ("Torch not compiled with CUDA enabled", "No CUDA GPUs are available",
                    "Expected a cuda device, but got: cpu", "Found no NVIDIA driver",
                    "0 active drivers ([]). There should only be one."):  # fmt: skip
        assert NEEDS_CUDA.search(message), message
    assert not NEEDS_CUDA.search("shape mismatch: [3] and [4]")


def test_inputs_without_tokens() -> None:
    for key, wanted in (("gqa1", 1), ("gqa_prefill8", 3), ("mamba", 1), ("indexer", 1)):
        one = definition(key)
        op = family(one.op_type)
        inputs = op.make_inputs(one, op.small_axes(one), seed=0)
        before = {n: v.clone() for n, v in inputs.items() if isinstance(v, torch.Tensor)}
        made = list(without_tokens(inputs))
        assert len(made) == wanted, key
        assert all(same_bits(before[n], inputs[n]) for n in before)
        for _, changed in made:
            for name in ("kv_indptr", "qo_indptr"):
                if name in changed:
                    assert changed[name][-1] == inputs[name][-1] and changed[name].diff().min() >= 0
    assert emptied(torch.tensor([0, 4])) is None
    gdn = definition("gdn")
    assert [name for name, _ in options(gdn, dict.fromkeys(gdn.inputs, 1))] == [
        "state of None", "a scale of 0.0", "a scale of None",
    ]  # fmt: skip


def test_allocations_are_filled_and_put_back() -> None:
    kept = torch.empty
    with allocations(0xFF):
        assert torch.empty(3).isnan().all() and torch.ones(2).new_empty(2).isnan().all()
        assert (torch.empty(2, dtype=torch.int32) == -1).all()
        assert torch.empty_like(torch.ones(2, dtype=torch.bool)).all()
        assert torch.empty(0).numel() == 0 and torch.empty((), dtype=torch.float16).isnan()
    assert torch.empty is kept


def test_every_code_of_the_smoke_run_is_provoked() -> None:
    shown = {code for entry in gotchas().values() for code in entry["smoke"] or []}
    here = {"KS900", "KS901", "KS903", "KS904", "KS905", "KS911", "KS916"}
    assert {code for code in CODES if code >= "KS900"} == shown | here
