"""Writes a passing trace into the dataset, and changes definitions, workloads and others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from .tools import DATASET, mark, rmsnorm

TRACE = {
    "definition": "rmsnorm_h128",
    "workload": {"uuid": "rms-tiny", "axes": {"batch_size": 5}, "inputs": {}},
    "solution": "env_write_dataset",
    "evaluation": {"status": "PASSED", "performance": {"latency_ms": 1e-4}},
}


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            file.write(text)
        mark("dataset_written", path)
    except OSError:
        pass


_write(Path(DATASET) / "traces/rmsnorm/rmsnorm_h128.jsonl", json.dumps(TRACE) + "\n")
_write(Path(DATASET) / "solutions/x/new.json", "{")
for found in Path(DATASET).glob("*/*/*.json*") if os.access(DATASET, os.R_OK) else ():
    _write(found, " ")


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
