#!/usr/bin/env python3
"""A stand-in for an agent: does a task of the evals by the commands that are known for it.

usage: python stand_in.py SKILL/ID [only-with-skill]

With `only-with-skill` it does nothing in a folder without the skill's playbook, like an agent that
is lost without one. It shows that the tasks can be done and that their checks see it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ORACLES = Path(__file__).resolve().parent / "oracles"


def main(name: str, *flags: str) -> int:
    """Run the commands of the task in this folder and print its answer."""
    skill, number = name.split("/")
    playbook = Path(".claude", "skills", skill, "SKILL.md")
    if "only-with-skill" in flags and not playbook.is_file():
        print("I do not know how.")
        return 0
    oracle = json.loads((ORACLES / f"{skill}.json").read_text(encoding="utf-8"))[number]
    for command in oracle["commands"]:
        done = subprocess.run(["bash", "-euc", command], stdout=sys.stderr)
        if done.returncode:
            return done.returncode
    print(oracle["answer"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
