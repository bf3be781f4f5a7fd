"""A summary as one self-contained HTML page: no script, font or picture from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from markupsafe import Markup

from kernelkit import __version__
from kernelkit.report import tables
from kernelkit.report.scores import geometric_mean
from kernelkit.report.summary import Summary

TEMPLATE = Path(__file__).resolve().parents[3] / "templates" / "report.html.j2"


def render(summary: Summary, command: str) -> str:
    """The page's text; `command` is what made it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=tables.number, sort_value=_sort_value, axes=_axes, breakable=_breakable
    )
    environment.globals.update(geometric_mean=geometric_mean)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        summary=summary,
        groups=summary.groups(),
        command=command,
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )


def _sort_value(value: float | None) -> float | str:
    """What a column sorts by; rows without a value come last."""
    return "" if value is None else value


def _breakable(name: str) -> Markup:
    """A name that may break after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _axes(axes: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in axes.items())
