"""A pytest plugin that writes one JSON line for each finished test: what a runner reads.

The line is written at once, so that a crash of a later test loses nothing.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

LOG = "KERNELKIT_TEST_LOG"  # names the file
MOST_TEXT = 4000
PACKAGES = ("torch", "flashinfer-python", "sglang", "flash-linear-attention", "triton")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """The test's parameters go along with its report."""
    result = yield
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    result.get_result().kernelkit = {k: v for k, v in parameters.items() if isinstance(v, str)}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for each call, and for each setup or teardown that did not pass."""
    if report.when != "call" and report.passed:
        return
    _append(
        report.nodeid,
        outcome=report.outcome,
        text=_text(report),
        parameters=getattr(report, "kernelkit", {}),
        properties=dict(report.user_properties),
        duration_s=round(report.duration, 3),
    )


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported."""
    if report.failed:
        _append(report.nodeid, outcome="failed", text=_text(report))


def pytest_sessionfinish() -> None:
    """What computed: the device and the versions of the packages that know the answers."""
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else "cpu"
    _write({"machine": {"device": device, "versions": _versions()}})


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why it failed (the end of it) or was skipped."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext[-MOST_TEXT:]


def _append(nodeid: str, **fields: Any) -> None:
    file, _, test = nodeid.partition("::")
    _write({"file": os.path.basename(file), "test": test, **fields})


def _write(row: dict[str, Any]) -> None:
    with open(os.environ[LOG], "a", encoding="utf-8") as log:
        log.write(json.dumps(row, default=str) + "\n")
