"""The harness of the onboarding on a CPU: SGLang stands in, the GEMMs' baseline runs for real."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import onboarding  # noqa: E402
import onboarding_checks as checks  # noqa: E402
import onboarding_states as states  # noqa: E402
import onboarding_world as worlds  # noqa: E402
from onboarding_world import DOCUMENT, Case, World  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "vocab_size": 500, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip
SLOW = os.environ.get("KERNELKIT_SLOW") == "1"  # all phases again; onboarding's own tests kill too
KILLS = int(os.environ.get("KERNELKIT_KILLS", "20"))
# The recording is made as if there were a GPU: the stand-in needs none.
DRIVER = """
import sys
sys.path.insert(0, {scripts!r})
from kernelkit.onboarding import gpus
gpus.has_gpu = lambda: True
import onboard_model
raise SystemExit(onboard_model.main(sys.argv[1:]))
"""
GEMMS = {"gemm_n128_k128", "gemm_n128_k64"}
NORMS = {"fused_add_rmsnorm_h128", "rmsnorm_h128"}
EXTRA = (
    "--device cpu --op-types rmsnorm,gemm --collect-arg=--traffic=engine --bench-arg=--iterations=2"
    " --collect-arg=--max-new-workloads=2 --collect-arg=--isl=16 --bench-arg=--warmup-runs=1"
)


@dataclass(frozen=True)
class Left:
    """What one run of the harness left."""

    code: int
    summary: dict[str, Any]
    output: Path
    world: World
    outcome: dict[str, Any]

    @property
    def found(self) -> dict[str, Any]:
        """The model's part of the summary."""
        (found,) = self.summary["models"]
        return found


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """The harness over a tiny model, once."""
    pytest.importorskip("torch")
    pytest.importorskip("huggingface_hub")
    folder = tmp_path_factory.mktemp("harness")
    case = Case("tiny", folder / "toy__tiny-1B.json")
    case.config.write_text(json.dumps(CONFIG))
    driver = folder / "driver.py"
    driver.write_text(DRIVER.format(scripts=str(ROOT / "scripts")))
    output = folder / "out"
    toy = str(ROOT / "tests" / "fixtures" / "toy_sglang")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onboarding, "CASES", (case,))
        patch.setattr(onboarding, "SCRIPT", driver)
        patch.setenv("PYTHONPATH", toy, prepend=os.pathsep)
        code = onboarding.main(["--output", str(output), "--extra", EXTRA])
        world = World(output / "tiny", case, worlds.environment(output / "tiny", None))
        summary = json.loads((output / "summary.json").read_text())
        yield Left(code, summary, output, world, states.outcome(world))


def test_a_tiny_model_goes_through_all_phases(left: Left) -> None:
    """FlashInfer's baselines need a GPU, so that the norms end unpublished, and that is told."""
    unpublished = "the SGLang pass shows it, but it is not published"
    assert set(left.found["problems"]) == {f"{name}: {unpublished}" for name in NORMS}
    assert left.code == 1 and not left.summary["passed"]
    rows = {row["definition"]: row for row in left.found["published"]}
    assert rows.keys() == GEMMS
    assert all(row["workloads"] == row["traces"] == 2 for row in rows.values())
    for name in NORMS:
        assert "the baseline was not evaluated" in left.found["skipped"][name]["4"]
    phases = left.found["first"]["phases"]
    assert [phases[number]["status"] for number in "01234"] == ["done"] * 5
    assert phases["2"]["seconds"].keys() >= {"SGLang pass", "reference tests", "all"}
    assert left.found["first"]["exit_code"] == left.found["second"]["exit_code"] == 0


def test_what_tells_the_story_is_kept(left: Left) -> None:
    with tarfile.open(left.output / "keep.tar.xz") as archive:
        kept = {name.removeprefix("tiny/") for name in archive.getnames()}
    assert {"summary.json", "run.json", "run.md", "first.log", "bin/calls.jsonl"} <= kept
    assert any(name.endswith("dataset_pr.md") for name in kept)


@pytest.mark.skipif(not SLOW, reason="takes minutes: KERNELKIT_SLOW=1")
def test_killed_at_random_moments_it_ends_the_same(left: Left) -> None:
    """KERNELKIT_KILLS says how often. Each kill is at a random moment of a phase, in turn."""
    twin = worlds.build(left.output, replace(left.world.case, name="twin"), None)
    rng, killed = random.Random(KILLS), 0
    phases = left.found["first"]["phases"]
    for number in range(KILLS):
        phase = (3 - number) % 5  # the first is well on its way, and all come in turn
        delay_s = rng.random() * phases[str(phase)]["seconds"]["all"]
        killed += _killed(twin, phase, delay_s)
    assert killed >= KILLS / 2, "too few kills came before the end: the test shows nothing"
    words = onboarding.command(twin, "current", EXTRA.split())
    done = subprocess.run(words, env=twin.environment, cwd=twin.root, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert states.differences(left.outcome, states.outcome(twin)) == []


def _killed(world: World, phase: int, delay_s: float) -> bool:
    """Run until so long after a phase has begun; whether the run was alive then."""
    words = onboarding.command(world, "current", EXTRA.split())
    log = world.root / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen(words, env=world.environment, cwd=world.root, stdout=file,
                                   stderr=file)  # fmt: skip
    while process.poll() is None and f"phase {phase}:" not in log.read_text():
        time.sleep(0.05)
    time.sleep(delay_s)
    is_alive = process.poll() is None
    process.kill()
    process.wait()
    return is_alive


def test_the_checks_see_what_is_wrong(left: Left, tmp_path: Path) -> None:
    """Each fault is planted in the hosted repositories or in the manifest, and is found."""
    before = states.state(left.world)
    one, other = sorted(GEMMS)
    clone = _clone(left.world, "flashinfer-trace", one, tmp_path)
    (clone / "definitions" / "gemm" / "stray.json").write_text("{}")
    traces = clone / "traces" / "gemm" / f"{one}.jsonl"
    traces.write_text(traces.read_text().replace("PASSED", "TIMEOUT", 1))
    _push(left.world, clone)
    clone = _clone(left.world, "flashinfer-trace", other, tmp_path)
    workloads = clone / "workloads" / "gemm" / f"{other}.jsonl"
    workloads.write_text(
        workloads.read_text().replace('"source": ', '"source": "synthetic", "x": ')
    )
    _push(left.world, clone)
    clone = _clone(left.world, "flashinfer-bench", one, tmp_path)
    document = clone / DOCUMENT
    document.write_text(document.read_text().replace("To be written.", "Written."))
    _push(left.world, clone)
    found = "\n".join(checks.check(left.world, jobs=1)["problems"])
    assert f"{one}: a file of something else: definitions/gemm/stray.json" in found
    assert f"{one}: a trace is TIMEOUT" in found
    assert f"{one}: validate_dataset.py ended with 1" in found
    assert f"{other}: workload" in found and "is of unknown origin" in found
    assert "coverage branches touch several sections" in found
    changed = states.differences(before, states.state(left.world))
    assert len(changed) == 2 and all("/refs/" in text for text in changed)


def _clone(world: World, name: str, definition: str, folder: Path) -> Path:
    target = folder / f"{name}-{definition}"
    branch = f"{states.PREFIX}{definition}"
    world.git("clone", "--quiet", "--branch", branch, world.hosted(name), target, at=folder)
    return target


def _push(world: World, clone: Path) -> None:
    world.git("add", "--all", at=clone)
    world.git("commit", "--quiet", "--message", "a fault", at=clone)
    world.git("push", "--quiet", "origin", "HEAD", at=clone)
