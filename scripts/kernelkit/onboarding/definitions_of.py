"""The definitions of a run that the dataset holds as they were derived."""

from __future__ import annotations

from kernelkit.dataset.definition import Definition
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding.run import Run


def defined(run: Run) -> list[Definition]:
    """In the manifest's order. What conflicts, or is not there (yet), is left out."""
    held = run.dataset.definitions()
    return [held[k.definition_name] for k in run.kernels() if is_usable(k, held)]


def is_usable(kernel: Kernel, held: dict[str, Definition]) -> bool:
    """Whether later phases may work on the kernel's definition."""
    return (
        kernel.definition_name in held
        and not kernel.differences
        and (kernel.phase2_status != "conflict")
    )
