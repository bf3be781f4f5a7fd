"""The tasks can be done: the commands that are known for each lead to folders that pass its checks.

And they are no gift: the folder as it was handed over does not pass. Some are always tried, all
with KERNELKIT_SLOW=1 (3 to 6 minutes of one core).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
import stand_in
from evaluating import agent, checks, trials, workspace
from evaluating.cases import Case, cases, skill_names

CASES = [case for name in skill_names() for case in cases(name)]
QUICK = {"extract-model-from-hf/3", "find-sglang-baseline/3", "clone-repos/3", "track-models/2"}
SLOW = os.environ.get("KERNELKIT_SLOW") == "1"
COMMAND = " ".join(map(shlex.quote, (sys.executable, stand_in.__file__))) + " {skill}/{id}"


def test_every_task_has_an_oracle() -> None:
    known = {
        f"{path.stem}/{number}"
        for path in stand_in.ORACLES.glob("*.json")
        for number in json.loads(path.read_text(encoding="utf-8"))
    }
    assert known == {case.name for case in CASES}
    assert {case.name for case in CASES} >= QUICK


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_task_can_be_done(case: Case, tmp_path: Path) -> None:
    if not SLOW and case.name not in QUICK:
        pytest.skip("takes minutes in all: KERNELKIT_SLOW=1")
    folder = tmp_path / "work"
    before = workspace.prepare(case, workspace.WITHOUT, folder)
    idle = trials.judge(case, checks.Outcome(folder, "", before))
    assert any(finding.reason for finding in idle), "doing nothing passes"
    ran = agent.run(COMMAND, case, folder, 300.0)
    log = folder.with_name("work.stderr").read_text()
    assert ran.state == "done", log[-3000:]
    done = trials.judge(case, checks.Outcome(folder, ran.answer, before))
    assert [finding for finding in done if finding.reason] == [], log[-3000:]
