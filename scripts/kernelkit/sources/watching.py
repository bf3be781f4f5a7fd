"""What a person sees while repositories come: a bar for each on a terminal, else lines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from kernelkit import cli
from kernelkit.sources.catalogue import Source
from kernelkit.sources.task import Watch


class Screen:
    """Makes a Watch for each repository; `close` ends all bars."""

    def __init__(self) -> None:
        self._bars: list[Any] = []
        self._make = _bar_class() if sys.stderr.isatty() else None

    def watch(self, source: Source) -> Watch:
        """The watch of one repository."""
        if self._make is None:
            return Watch(_ignore, lambda text: cli.say(f"{source.name}: {text}"))
        bar = self._make(
            desc=source.name, total=1, position=len(self._bars), leave=False, file=sys.stderr,
            bar_format="{desc:<17} {percentage:3.0f}% |{bar:20}|{postfix}",
        )  # fmt: skip
        self._bars.append(bar)
        return Watch(_onto(bar), lambda text: bar.write(f"{source.name}: {text}", file=sys.stderr))

    def close(self) -> None:
        """Remove the bars."""
        for bar in self._bars:
            bar.close()


def _bar_class() -> Callable[..., Any] | None:
    """tqdm, where it is installed: this is the first thing to run on a new machine."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def _ignore(stage: str, done: int, total: int, speed: str) -> None:
    """No terminal: git's progress is not shown."""


def _onto(bar: Any) -> Callable[[str, int, int, str], None]:
    def show(stage: str, done: int, total: int, speed: str) -> None:
        bar.total, bar.n = total, done
        bar.set_postfix_str(f"{stage.lower()} {done}/{total} {speed}".rstrip(), refresh=True)

    return show
