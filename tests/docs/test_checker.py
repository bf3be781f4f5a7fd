"""The checker sees: each rule fires on a planted error and stays silent on the sound twin."""

from __future__ import annotations

import checker
import pytest
import reading

FENCE = "```bash\n{}\n```\n"


def _document(text: str) -> reading.Document:
    return reading.Document(checker.ROOT / "PLANTED.md", text)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python scripts/derive_definitions.py --confg x.json", "unrecognized arguments"),
        ("python scripts/derive_definitions.py --tp-list zero", "not integers"),
        ("python scripts/no_such_script.py", "no such script"),
        ("python elsewhere.py", "not a script of this repository"),
        ("frobnicate --now", "unknown program"),
        ("python scripts/derive_definitions.py --config <nonsense>", "unknown placeholder"),
        ("cd x && python scripts/no_such_script.py", "no such script"),
        ("bash scripts/absent.sh", "no such file"),
        ("A=1 python scripts/derive_definitions.py \\\n  --page-sizes 0", "below 1"),
        ("python scripts/build_solution.py pack x -o y --no-such", "unrecognized arguments"),
        ("srun --gpus 1 python scripts/bench.py --no-such", "required: --dataset"),
        ("srun bash -c 'pip install x && python scripts/no_such.py'", "no such script"),
    ],
)
def test_bad_command_is_found(command: str, message: str) -> None:
    problems = checker.find_bad_commands(_document(FENCE.format(command)))
    assert len(problems) == 1
    assert message in problems[0].message


@pytest.mark.parametrize(
    "command",
    [
        "python scripts/derive_definitions.py --config <config> --tp-list 1,2 --dry-run",
        "A=1 python scripts/derive_definitions.py --help > out.txt",
        "git clone <url> && cd x",
        "python scripts/build_solution.py pack x -o <file>",
        "srun --gpus 1 bash -c 'pip install x && python scripts/bench.py --dataset <dataset>'",
        "# a comment",
    ],
)
def test_sound_command_passes(command: str) -> None:
    assert checker.find_bad_commands(_document(FENCE.format(command))) == []


def test_other_fences_are_not_commands() -> None:
    assert reading.commands(_document("```python\nfrobnicate\n```\n```text\nx\n```\n")) == []


@pytest.mark.parametrize(
    ("text", "finder"),
    [
        ("`--confg` of `scripts/derive_definitions.py`", checker.find_unknown_flags),
        ("[x](no/such/file.md)", checker.find_dead_paths),
        ("see `scripts/absent.py`", checker.find_dead_paths),
        ("costs $5", checker.find_bad_words),
        ("in /home/me/x", checker.find_bad_words),
        ("{baseDir}/x", checker.find_bad_words),
    ],
)
def test_broken_promise_is_found(text: str, finder: object) -> None:
    assert len(finder(_document(text))) == 1
    sound = "`--config` of `scripts/derive_definitions.py`, [x](README.md), USD 5"
    assert finder(_document(sound)) == []


def test_flags_of_sub_commands_are_known() -> None:
    text = "`{}` of `scripts/build_solution.py`"
    assert checker.find_unknown_flags(_document(text.format("--output"))) == []
    assert len(checker.find_unknown_flags(_document(text.format("--outpu")))) == 1


def test_unknown_skill_is_found() -> None:
    found = checker.find_unknown_skills(_document("run `/no-such-skill x`"), {"other-skill"})
    assert len(found) == 1
    assert checker.find_unknown_skills(_document("run `/other-skill`"), {"other-skill"}) == []
