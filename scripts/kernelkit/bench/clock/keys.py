"""What the calls of a trial in batches are called: a key decides about a call's contents."""

from __future__ import annotations

from kernelkit.bench.clock.control import KEY
from kernelkit.bench.judge.contents import PLANNED
from kernelkit.bench.settings import Settings

FEWEST = 2  # calls of a batch
FIRST_BATCH = 12  # timed calls, after which a trial may be settled
PROBE = "probe/"  # begins the key of a probe


def keys_ahead(settings: Settings, slots: int, probes: list[str], kinds: set[str]) -> list[str]:
    """The calls that a workload's solutions will make, the soonest first, for their contents and
    expected outputs to be made ahead."""
    keys = [KEY, *(f"{PROBE}{name}" for name in probes)]
    most = min(slots, settings.iterations)
    for kind in sorted(kinds):
        keys += [f"0/{kind}/warm/{n}" for n in range(max(FEWEST, settings.warmup))]
        for turn, counts in enumerate((range(FIRST_BATCH), range(most - FIRST_BATCH))):
            keys += [f"{trial}/{kind}/{turn}/{n}" for trial in range(settings.trials)
                     for n in counts]  # fmt: skip
    return keys


def kind_of(setup: list[str] | None) -> str:
    """What the calls of a solution's batches are called, by the inputs that its set-up takes."""
    return PLANNED if setup is not None else "free"
