"""A process that builds variants: it calls each once, so that compiled code lies in the cache.

A line of JSON on stdin for each variant, a line on stdout for each that was built or failed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve stdin. Ends early after an error that leaves the device unusable."""
    for line in sys.stdin:
        job = json.loads(line)
        error = _build(job)
        print(json.dumps({"folder": job["folder"], "error": error}), flush=True)
        if "CUDA error" in error:
            os._exit(1)


def _build(job: dict[str, Any]) -> str:
    """The error of a variant's first calls, one for each workload; empty for none."""
    from kernelkit.dataset.definition import Definition
    from kernelkit.solutions.tuning import trial

    try:
        definition = Definition.model_validate(job["definition"])
        run = trial.load(Path(job["folder"]), job["spec"])
        for axes in job["axes"]:
            run(*trial.inputs_of(definition, axes, job["device"]).values())
        if job["device"] != "cpu":
            import torch

            torch.cuda.synchronize()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


if __name__ == "__main__":
    main()
