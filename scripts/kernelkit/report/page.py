"""A summary as one self-contained HTML page: no script, font or picture from elsewhere.

The page's policy names its one style and its one script by their hashes, so that a browser runs
nothing else, even if something in a trace got past the escaping.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from kernelkit import __version__, places
from kernelkit.report import extent, plots, roofline, svg, tables, text
from kernelkit.report.columns import columns_of, score_columns
from kernelkit.report.plots import Figure
from kernelkit.report.rows import Row
from kernelkit.report.summary import Summary

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Group:
    """The plots of one definition on one hardware."""

    definition: str
    hardware: str
    plots: list[Figure]


def render(summary: Summary, command: str) -> str:
    """The page's text; `command` is what made it."""
    environment = _environment(summary)
    style = Markup(environment.get_template("report.css.j2").render())
    script = Markup(environment.get_template("report.js.j2").render())
    return environment.get_template("report.html.j2").render(
        summary=summary,
        command=command,
        style=style,
        script=script,
        policy=policy(style, script),
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        groups=_groups(summary),
        drawable=summary.groups(),
        overall=_overall(summary),
        sections=_sections(summary),
        gaps=tables.gaps(summary),
        failures=tables.alike(summary.failures),
        extent=extent,
        columns=columns_of(summary.rows),
        score_columns=score_columns(summary.scores),
        author_columns=score_columns(summary.authors),
        kinds=sorted({row.op_type for row in summary.rows}),
        measured=len({row.definition for row in summary.rows}),
        several=len({row.hardware for row in summary.rows}) > 1,
    )


def policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which only this style and this script count."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment(summary: Summary) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(places.DOCUMENTS), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    failures = enumerate(tables.alike(summary.failures)[: extent.FAILURES])
    groups = {id(row): f"f{index}" for index, rows in failures for row in rows}
    made.filters.update(
        clean=text.clean, clean_log=text.clean_log, of_limit=text.of_limit, axes=_axes,
        times=lambda value: text.times(value, "×"), breakable=breakable, sort_value=_sort_value,
        failure=lambda row: groups.get(id(row), "failures"), some=text.some,
    )  # fmt: skip
    made.globals.update(swatch=svg.swatch, version=__version__)
    return made


def breakable(name: str) -> Markup:
    """A name that may break after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _groups(summary: Summary) -> list[Group]:
    """Plots of each definition and hardware, up to a bound."""
    scores: dict[tuple[str, str], list[Any]] = {}
    for score in summary.scores:
        scores.setdefault((score.definition, score.hardware), []).append(score)
    found = []
    drawn = islice(summary.groups().items(), extent.GROUPS)
    for index, ((definition, hardware), rows) in enumerate(drawn):
        own = scores[definition, hardware]
        made = [
            plots.latency_plot(f"l{index}", rows, own),
            plots.speedup_bars(f"b{index}", own),
            plots.win_curve(f"w{index}", own, summary.baseline),
        ]
        found.append(Group(definition, hardware, [plot for plot in made if plot]))
    return found


def _overall(summary: Summary) -> list[tuple[str, list[Figure]]]:
    """The roofline and the authors' win@p curve of each hardware."""
    found = []
    for index, hardware in enumerate(dict.fromkeys(row.hardware for row in summary.rows)):
        rows: list[Row] = [row for row in summary.rows if row.hardware == hardware]
        authors = [score for score in summary.authors if score.hardware == hardware]
        made = [
            roofline.roofline(f"r{index}", rows),
            plots.win_curve(f"a{index}", authors, summary.baseline),
        ]
        if any(made):
            found.append((hardware, [plot for plot in made if plot]))
    return found


def _sections(summary: Summary) -> list[tuple[str, str]]:
    found = [("run", "Where and when")]
    if summary.failures:
        found.append(("failures", "Failures"))
    if summary.rows:
        found += [("scores", "Scores"), ("authors", "Authors"), ("overall", "Overall plots"),
                  ("plots", "Definitions"), ("results", "Results")]  # fmt: skip
    return [*found, ("coverage", "Not covered")]


def _axes(axes: dict[str, int]) -> str:
    return text.axes_text(axes, every=True)


def _sort_value(value: float | None) -> str:
    """What a column sorts by; rows without a value come last."""
    return "" if value is None or value != value else f"{value:.7g}".replace("inf", "Infinity")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
