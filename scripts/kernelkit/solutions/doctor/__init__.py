"""The wrapper doctor: why a solution's numbers are wrong, by cheap tests that tell causes apart."""
