"""Workers start wherever the temporary folder lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
PROGRAM = """
if __name__ == "__main__":
    import sys
    from pathlib import Path
    from kernelkit.bench import process
    ended = process.run(Path(sys.argv[1]), 60)
    print("ended", ended.timed_out)
"""


@pytest.mark.parametrize("depth", [1, 6])
def test_a_deep_temporary_folder(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a folder with a long name"] * depth)
    folder.mkdir(parents=True)
    program = tmp_path / "start.py"
    program.write_text(PROGRAM)
    job = folder / "job.json"
    job.write_text(json.dumps({}))  # the worker refuses it; that it started is what counts
    done = subprocess.run(
        [sys.executable, str(program), str(job)], capture_output=True, text=True, timeout=90,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(SCRIPTS)},
    )  # fmt: skip
    assert "ended False" in done.stdout, done.stderr
    assert "AF_UNIX" not in done.stderr
