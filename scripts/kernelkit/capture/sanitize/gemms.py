"""GEMM workloads: SGLang's linear layers are no FlashInfer calls, their M follows from the norms.

The fused residual norms run over the hidden size, once for each layer and forward step: their rows
are the tokens of the step. A GEMM definition takes them when it shares a model with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kernelkit.capture.sanitize.calls import Origin
from kernelkit.capture.sanitize.candidates import Candidate, identity
from kernelkit.capture.sanitize.observed import Observed
from kernelkit.dataset.definition import Definition


@dataclass
class ForwardSteps:
    """Token counts by hidden size with the recording of the first norm over all tokens that shows
    each; models by hidden size."""

    _rows: dict[tuple[str, int], dict[int, Origin]] = field(default_factory=dict)
    _models: dict[int, set[str]] = field(default_factory=dict)

    def see(self, definition: Definition, axes: dict[str, int], origin: Origin) -> None:
        """A norm that fits a definition, and where it was recorded."""
        if definition.op_type != "rmsnorm":
            return
        size = definition.const_axes["hidden_size"]
        kind = "fused" if "residual" in definition.inputs else "plain"
        self._rows.setdefault((kind, size), {}).setdefault(axes["batch_size"], origin)
        if kind == "fused":
            self._models.setdefault(size, set()).update(_models_of(definition))

    def candidates(self, definitions: list[Definition]) -> Iterator[Candidate]:
        """A workload for each GEMM and token count of its model's forward steps."""
        for definition in definitions:
            for size, models in self._models.items():
                if not _is_layer_of(definition, size, models):
                    continue
                rows = {
                    **self._rows.get(("plain", size), {}),
                    **self._rows.get(("fused", size), {}),
                }
                for tokens, origin in sorted(rows.items(), key=lambda row: row[0]):
                    yield _candidate(definition, tokens, origin)


def _candidate(definition: Definition, tokens: int, origin: Origin) -> Candidate:
    axes = {"M": tokens}
    return Candidate(
        definition=definition,
        uuid=identity(definition, axes, Observed({}), {}),
        axes=axes,
        features=axes,
        assumed=("M",),
        call=None,
        origin=origin,
        derived_from="rows of the norms of each forward step",
    )


def _is_layer_of(definition: Definition, hidden_size: int, models: set[str]) -> bool:
    """Whether a GEMM definition is a linear layer over the tokens of a model that ran."""
    if definition.op_type != "gemm" or not models & _models_of(definition):
        return False
    return definition.var_axes == ["M"] and hidden_size in definition.const_axes.values()


def _models_of(definition: Definition) -> set[str]:
    return {tag for tag in definition.tags if tag.startswith("model:")}
