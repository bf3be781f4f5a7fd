"""Constants."""

EPSILON = 1e-6
