"""The doctor names the cause of each planted mistake: recurrent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from planted_solutions import Plant, check, plants

from kernelkit.solutions.doctor.report import Diagnosis


@pytest.mark.parametrize("plant", plants("recurrent"), ids=lambda plant: plant.label)
def test_the_cause_is_named(plant: Plant, diagnose: Callable[[Plant], Diagnosis]) -> None:
    check(diagnose(plant), plant)
