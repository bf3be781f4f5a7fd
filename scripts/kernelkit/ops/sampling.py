"""sampling: draw one token a row after top-k, top-p, or top-k and then top-p filtering.

    top_k_sampling_from_probs_v{vocabulary}        top_p_sampling_from_probs_v{vocabulary}
    top_k_top_p_sampling_from_probs_v{vocabulary}

Published samples are int64, FlashInfer's kernels return int32 unless asked; outputs are draws, so a
kernel is compared by frequency and support, not by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

KINDS = ("top_k", "top_k_top_p", "top_p")
FILTERS = {
    "top_k": base.tensor("batch_size", "int32", "Candidates kept; outside 1..vocabulary: all."),
    "top_p": base.tensor("batch_size", "float32", "Mass kept, in (0, 1]."),
}

NARROW = 1e-6  # of the mass: the likeliest token alone
WIDE_K, WIDE_P = 16, 0.9
LEAST_MASS = 0.01  # of a mixed row


class Sampling(OpFamily):
    """Sampling from probabilities; the vocabulary is not divided by TP."""

    op_type = "sampling"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """The three filters over the model's vocabulary."""
        return (Variant(self.definition(kind, spec.vocab_size)) for kind in KINDS)

    def definition(self, kind: str, vocab_size: int) -> Definition:
        """One definition of the family; `kind` is one of KINDS."""
        name = f"{kind}_sampling_from_probs"
        return Definition(
            name=f"{name}_v{vocab_size}",
            description=f"One token a row, drawn from {vocab_size} probabilities after "
            f"{kind.replace('top_k_top', 'top_k, then top')} filtering.",
            op_type=self.op_type,
            tags=[fi_api_tag(f"flashinfer.sampling.{name}")],
            axes={
                "batch_size": base.var("Number of rows."),
                "vocab_size": base.const(vocab_size),
            },
            inputs={
                "probs": base.tensor("batch_size vocab_size", "float32", "Rows sum to one."),
                **{key: spec for key, spec in FILTERS.items() if key in kind},
            },
            outputs={"samples": base.tensor("batch_size", "int64", "Drawn token ids.")},
            reference=references.source(name),
        )

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Peaked softmax rows; top_k of 1 to 100, top_p of 0.1 to 1, row by row."""
        import torch

        batch = axes["batch_size"]
        if name == "top_k":
            most = min(100, definition.const_axes["vocab_size"])
            return torch.randint(1, most + 1, (batch,), generator=rng, dtype=torch.int32)
        if name == "top_p":
            return 0.1 + 0.9 * torch.rand(batch, generator=rng)
        return torch.softmax(base.normal(definition, name, axes, rng, scale=3.0), dim=-1)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """The probabilities once; one comparison and one addition an entry (a lower bound)."""
        entries = axes["batch_size"] * definition.const_axes["vocab_size"]
        return Cost(base.all_bytes(definition, axes), 2.0 * entries)

    def tolerance(self, definition: Definition) -> Tolerance:
        """Draws: compared by frequency."""
        return Tolerance(atol=0.0, rtol=0.0, samples=True)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Two rows."""
        return {"batch_size": 2}

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Rows of others mixed, each brought to a sum of one; filters change rows."""
        import torch

        moved = {n: probing.rolled(v, rng) if hasattr(v, "dim") else v for n, v in inputs.items()}
        probs = probing.mixed(inputs["probs"], rng)
        total = probs.sum(dim=1, keepdim=True)
        # Of a row with one likely token nothing may be left.
        moved["probs"] = torch.where(total > LEAST_MASS, probs / total, moved["probs"])
        return moved

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """narrow: flat rows of which every other one may give its likeliest token alone: a filter
        that is not applied shows in one draw. wide: flat rows with filters that leave most of
        them: a token that is always the same shows in a few draws."""
        import torch

        fresh = self.vary_values(definition, inputs, rng)
        flat = fresh["probs"].clamp(min=1e-30) ** 0.25
        fresh["probs"] = flat / flat.sum(dim=1, keepdim=True)
        for name, value in (("top_k", 1), ("top_p", NARROW)):
            if hasattr(fresh.get(name), "dim"):
                fresh[name][::2] = value
                break
        yield "narrow", probing.replaced(definition, fresh, {})
        wide = dict(fresh)
        for name, value in (("top_k", WIDE_K), ("top_p", WIDE_P)):
            if hasattr(wide.get(name), "dim"):
                wide[name] = torch.full_like(wide[name], value)
        yield "wide", probing.replaced(definition, wide, {})

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """`flashinfer.sampling.*` with tensors for k and p."""
        import torch

        kwargs = {
            name: torch.empty(
                definition.shape_of(name, {"batch_size": 2}),
                dtype=base.torch_dtype(spec.dtype.value),
                device="meta",
            )
            for name, spec in definition.inputs.items()
        }
        return FlashInferCall(f"flashinfer.sampling.{definition.name.rsplit('_v', 1)[0]}", kwargs)


FAMILY = Sampling()
