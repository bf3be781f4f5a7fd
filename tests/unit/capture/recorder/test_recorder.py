"""The recorder in processes that use a package built like FlashInfer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit.capture.recording import Recording, find

pytest.importorskip("torch")

DECODE = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"
NORM = "flashinfer.norm.rmsnorm"
Run = Callable[..., subprocess.CompletedProcess[str]]
Read = Callable[[], Recording]

STEPS = Path(__file__).with_name("steps.py.txt").read_text(encoding="utf-8")


def test_calls_of_steps_are_recorded_once_with_their_values(run_recorded: Run, read: Read) -> None:
    done = run_recorded(STEPS + "\ngo(2, 0); go(2, 0); go(3, 5)", [DECODE, NORM])
    assert done.returncode == 0, done.stderr
    found = read()
    assert found.header["model"] == "toy"
    assert found.header["versions"]["flashinfer"] == "0.6.12"
    calls = list(found.calls())
    named = [(c.api.name, c.api.method, c.count) for c in calls]
    wrapper = "BatchDecodeWithPagedKVCacheWrapper"
    assert named == [
        (wrapper, "plan", 2), ("rmsnorm", "", 8), (wrapper, "run", 8),
        (wrapper, "plan", 1), ("rmsnorm", "", 4), (wrapper, "run", 4),
    ]  # fmt: skip
    plan, _, run = calls[3:]
    assert found.array(plan.arguments["indptr"]).tolist() == [0, 3, 6, 9]
    assert found.array(plan.arguments["indices"]).tolist() == list(range(5, 14))
    assert plan.bound["q_data_type"] == "bfloat16"
    assert run.plan == plan.number
    assert (run.step, run.mode, run.layer) == (3, "DECODE", 0)
    assert run.attributes == {"kv_layout": "NHD", "causal": False, "sm_scale": 0.25}
    keys, _ = run.arguments["paged_kv_cache"]
    assert (keys.shape, keys.dtype, keys.digest) == ((64, 2, 8), "float32", None)
    assert run.bound["k_scale"] is None


def test_two_wrappers_that_interleave_keep_their_own_plans(run_recorded: Run, read: Read) -> None:
    program = """
        import torch
        from flashinfer import BatchDecodeWithPagedKVCacheWrapper as Wrapper
        def plan(w, n):
            w.plan(torch.tensor([0, n], dtype=torch.int32), torch.arange(n), torch.ones(1), 4)
        a, b = Wrapper(), Wrapper("HND")
        plan(a, 3); plan(b, 7)
        q = torch.zeros(1, 4, 8)
        a.run_return_lse(q, None); b.run(q, None)
    """
    assert run_recorded(program, [DECODE]).returncode == 0
    found = read()
    calls = {c.number: c for c in found.calls()}
    runs = [c for c in calls.values() if c.api.method == "run"]
    indptr = [found.array(calls[r.plan].arguments["indptr"]).tolist() for r in runs]
    assert indptr == [[0, 3], [0, 7]]
    assert [r.attributes["kv_layout"] for r in runs] == ["NHD", "HND"]
    assert runs[0].bound["return_lse"] is True


def test_a_private_module_and_a_raising_call(run_recorded: Run, read: Read) -> None:
    program = """
        import torch
        from flashinfer.mla import BatchMLAPagedAttentionWrapper as Wrapper
        from flashinfer.norm import fused_add_rmsnorm
        w = Wrapper()
        w.plan(torch.tensor([0, 1], dtype=torch.int32), True, 0.1)
        w.run(torch.zeros(1, 16, 512))
        try:
            fused_add_rmsnorm(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(2))
        except RuntimeError as error:
            print("raised", error)
    """
    apis = ["flashinfer.mla.BatchMLAPagedAttentionWrapper", "flashinfer.norm.fused_add_rmsnorm"]
    done = run_recorded(program, apis)
    assert done.stdout == "raised no kernel\n"
    plan, run, norm = read().calls()
    assert plan.api.path == apis[0]
    assert run.attributes["sm_scale"] == 0.1
    assert (norm.api.name, norm.completed, run.completed) == ("fused_add_rmsnorm", False, True)


def test_unwanted_apis_stay_untouched(run_recorded: Run, tmp_path: Path) -> None:
    program = "import flashinfer; print(hasattr(flashinfer.rmsnorm, '_kernelkit'))"
    done = run_recorded(program, [DECODE])
    assert done.stdout == "False\n"
    assert find(tmp_path / "out") == []


def test_the_sitecustomize_that_was_there_still_runs(run_recorded: Run, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("import os; os.environ['THEIRS'] = 'ran'\nMARK = 5\n")
    program = """
        import os, sitecustomize, flashinfer
        print(os.environ["THEIRS"], sitecustomize.MARK, hasattr(flashinfer.rmsnorm, "_kernelkit"))
    """
    assert run_recorded(program, [NORM], extra=theirs).stdout == "ran 5 True\n"


def test_children_spawned_and_forked_write_their_own_files(
    run_recorded: Run, tmp_path: Path
) -> None:
    program = """
        import multiprocessing, os, sys, torch
        def work(rows):
            import flashinfer
            flashinfer.rmsnorm(torch.zeros(rows, 4), torch.ones(4))
        if __name__ == "__main__":
            work(1)
            pid = os.fork()
            if pid == 0:
                work(2)
                sys.exit(0)
            os.waitpid(pid, 0)
            import subprocess
            child = "import flashinfer, torch; flashinfer.rmsnorm(torch.zeros(3, 4), torch.ones(4))"
            subprocess.run([sys.executable, "-c", child], check=True)
    """
    done = run_recorded(program, [NORM])
    assert done.returncode == 0, done.stderr
    rows = []
    for path in find(tmp_path / "out"):
        rows += [c.arguments["input"].shape[0] for c in Recording.open(path).calls()]
    assert sorted(rows) == [1, 2, 3]
