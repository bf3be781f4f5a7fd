"""A report with everything in it: passes, failures, a limit, two solutions, evil names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report_samples import NORM, trace

from kernelkit.dataset.store import Dataset
from kernelkit.report.page import render
from kernelkit.report.summary import Selection, summarize

EVIL = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def write_page(folder: Path) -> Path:
    """Write the report's page into the folder."""
    summary = summarize(_dataset(folder / "dataset"), Selection(baseline="base"))
    path = folder / "report.html"
    path.write_text(render(summary, f"python scripts/report.py {EVIL}"), encoding="utf-8")
    return path


def _dataset(root: Path) -> Dataset:
    made = Dataset.create(root)
    made.write_definition(NORM)
    for size in (1, 8, 64, 512):
        base = 0.5 + size / 100
        traces = [
            trace("base", base, rows=size, extra=_facts(base)),
            trace("a_much_faster_one_with_a_long_name_" * 2, base / 3, rows=size),
            trace(EVIL, None if size == 8 else base * 1.5, rows=size, log=EVIL * 9),
        ]
        made.append_traces(NORM, traces)
    return made


def _facts(latency: float) -> dict[str, Any]:
    told = {"bytes_moved": 1e9, "flops": 4e9, "limit": "memory", "limit_ms": 0.25}
    timing = {"p10_ms": latency * 0.9, "p90_ms": latency * 1.2, "relative_error": 0.01}
    return {"speed_of_light": told, "timing": timing, "seed": 1}
