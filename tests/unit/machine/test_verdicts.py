"""From facts to verdicts, repairs and contradictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelkit.machine.conflicts import conflicts
from kernelkit.machine.examine import facts_of
from kernelkit.machine.facts import ABSENT, BROKEN, OK, UNKNOWN, Fact
from kernelkit.machine.needs import Needs
from kernelkit.machine.verdicts import (
    NOT,
    PARTLY,
    WORKS,
    judge_script,
    judge_skill,
    repairs,
    scripts_here,
    skills_here,
)


def _facts(**states: str) -> dict[str, Fact]:
    return {name: Fact("g", name, state) for name, state in states.items()}


@pytest.mark.parametrize(
    ("states", "state", "missing", "parts"),
    [
        ({"torch": OK, "gpu": OK, "git": OK}, WORKS, [], {}),
        ({"torch": OK, "gpu": ABSENT, "git": OK}, PARTLY, [], {"times": ["gpu"]}),
        ({"torch": BROKEN, "gpu": OK, "git": OK}, NOT, ["torch"], {}),
        ({"torch": OK, "gpu": UNKNOWN, "git": OK}, WORKS, [], {}),
        ({"torch": OK, "gpu": OK, "git": ABSENT, "hg": OK}, WORKS, [], {}),
        ({"torch": OK, "gpu": OK}, NOT, ["git|hg"], {}),
    ],
)
def test_scripts(states: dict, state: str, missing: list, parts: dict) -> None:
    needs = Needs(("torch", "git|hg"), {"times": ("gpu",)})
    verdict = judge_script("x", needs, _facts(**states))
    assert (verdict.state, verdict.missing, verdict.parts) == (state, missing, parts)


def test_skills_follow_their_scripts() -> None:
    good = judge_script("good", Needs(()), {})
    half = judge_script("half", Needs((), {"--x": ("gpu",)}), {})
    bad = judge_script("bad", Needs(("torch",)), {})
    assert judge_skill("s", [good]).state == WORKS
    assert judge_skill("s", [good, half]).parts == {"half --x": ["gpu"]}
    assert judge_skill("s", [good, bad]).state == PARTLY
    assert judge_skill("s", [bad]).state == NOT
    assert judge_skill("s", []).state == WORKS


def test_repairs_name_what_they_serve() -> None:
    facts = _facts(torch=BROKEN, gpu=ABSENT, git=OK)
    scripts = [
        judge_script("a", Needs(("torch",)), facts),
        judge_script("b", Needs(("git",), {"--gpu": ("gpu", "torch_gpu")}), facts),
    ]
    found = {repair.name: repair for repair in repairs(facts, scripts)}
    assert set(found) == {"torch", "gpu"}  # no build of torch helps where there is no GPU
    assert "--force-reinstall" in found["torch"].command
    assert found["gpu"].serves == ["b --gpu"]


def test_skills_and_scripts_are_those_of_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "doctor.py").write_text("")
    (tmp_path / "unheard_of.py").write_text("")
    (tmp_path / "_private.py").write_text("")
    assert list(scripts_here(tmp_path)) == ["doctor", "unheard_of"]
    playbook = tmp_path / "clone-repos" / "SKILL.md"
    playbook.parent.mkdir()
    playbook.write_text("python scripts/clone_repos.py, then scripts/doctor.py")
    assert skills_here(tmp_path) == {"clone-repos": ["clone_repos", "doctor"]}


def test_a_probe_that_breaks_is_a_fact() -> None:
    def breaks() -> list[Fact]:
        raise RuntimeError("no one thought of this")

    found = facts_of([("a", breaks), ("b", lambda: [Fact("g", "b", OK)])])
    assert found["a"].state == BROKEN and "no one thought" in found["a"].detail
    assert found["b"].usable


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ([Fact("", "gpu", OK), Fact("", "torch", OK),
          Fact("", "torch_gpu", ABSENT, detail="this torch is a CPU build")], "CPU build"),
        ([Fact("", "nvcc", OK, "12.4"), Fact("", "torch_gpu", OK, "CUDA 13.0"),
          Fact("", "gpu", OK)], "nvcc is of CUDA 12.4"),
        ([Fact("", "sglang", BROKEN, detail="ImportError: x")], "sglang is there and does not"),
        ([Fact("", "disk", OK, "3.2 GB free")], "below 10 GB"),
        ([Fact("", "torch_gpu", OK, "CUDA 13.0")], "nvidia-smi does not show"),
    ],
)  # fmt: skip
def test_contradictions(facts: list[Fact], text: str) -> None:
    found = conflicts({fact.name: fact for fact in facts})
    assert len(found) == 1 and text in found[0]


def test_no_contradiction_where_all_goes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "GIT_LFS_SKIP_SMUDGE"):
        monkeypatch.delenv(name, raising=False)
    sound = [Fact("", "gpu", OK), Fact("", "torch", OK), Fact("", "torch_gpu", OK, "CUDA 13.0"),
             Fact("", "nvcc", OK, "13.0"), Fact("", "disk", OK, "60.1 GB free"),
             Fact("", "memory", OK, "128.0 GB")]  # fmt: skip
    assert conflicts({fact.name: fact for fact in sound}) == []
