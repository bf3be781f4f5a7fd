"""What the scripts have in common: options -> generation -> models.ts, report and text."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.dataset import atomic
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.webmodel import store
from kernelkit.webmodel.analysis import to_text
from kernelkit.webmodel.generate import Generated, Wanted, generate
from kernelkit.webmodel.mapping import choose_sizes
from kernelkit.webmodel.summary import summary
from kernelkit.webmodel.typescript import Style, entry_text

if TYPE_CHECKING:
    from kernelkit.models.load import Model
    from kernelkit.sglang.implementation import Implementation


@dataclass(frozen=True)
class Done:
    """One generated entry, and what became of the file (None: no file was named)."""

    generated: Generated
    output: Path | None
    outcome: store.Outcome | None

    @property
    def up_to_date(self) -> bool:
        """Whether the file holds just this entry already."""
        return self.outcome is not None and self.outcome.up_to_date

    def document(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "id": self.generated.entry.id,
            "action": self.outcome.edit.action if self.outcome else "printed",
            "output": str(self.output) if self.output else None,
            "entry": self.generated.entry.as_dict(),
            "analysis": self.generated.report,
        }

    def text(self, *, show_difference: bool) -> str:
        """The tree; then the change of the file, or the entry where there is none."""
        text = summary(self.generated)
        if self.outcome is None:
            return f"{text}\n\n{entry_text(self.generated.entry, Style(indent=''))}"
        if show_difference and self.outcome.difference:
            text = f"{text}\n\n{self.outcome.difference}"
        verb = "would be " if show_difference and not self.up_to_date else ""
        return f"{text}\n\n{self.output}: {verb}{self.outcome.edit.action}"


def wanted(
    args: argparse.Namespace,
    model: Model,
    config: Path | None,
    implementation: Implementation | None,
) -> Wanted:
    """The mapping options of a script as one value."""
    if args.keep_missing and args.dataset is None:
        raise UsageError("--keep-missing needs --dataset", next_step="name a dataset, or drop it")
    dataset = Dataset.open(args.dataset) if args.dataset is not None else None
    sizes = choose_sizes(
        model, args.tp_list, args.ep_list, args.page_sizes, args.cookbook,
        searching=dataset is not None,
    )  # fmt: skip
    return Wanted(
        sizes=sizes, dataset=dataset, implementation=implementation, config=config,
        name=args.display_name, description=args.description, keep_missing=args.keep_missing,
    )  # fmt: skip


def default_output() -> Path | None:
    """models.ts of a flashinfer-bench checkout that is the current folder."""
    return store.DEFAULT_OUTPUT if store.DEFAULT_OUTPUT.is_file() else None


def report_path(folder: Path, slug: str) -> Path:
    """Where a model's report stands by default."""
    return folder / slug / f"model_analysis_{slug}.json"


def entry_step(model: Model, wanted: Wanted, output: Path | None, *, write: bool) -> Done:
    """Generate the entry and put it into `output`, or only see what that would do."""
    generated = generate(model, wanted)
    if output is None:
        return Done(generated, None, None)
    words = store.Words(wanted.name, wanted.description)
    outcome = (store.write if write else store.preview)(output, generated, words)
    return Done(outcome.generated, output, outcome)


def write_report(path: Path, generated: Generated) -> bool:
    """Write model_analysis_{slug}.json; False where it is that already."""
    try:
        return atomic.write_text(path, to_text(generated.report))
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}") from None


def report_is_current(path: Path, generated: Generated) -> bool:
    """Whether the file holds just this report."""
    return path.is_file() and path.read_bytes() == to_text(generated.report).encode("utf-8")
