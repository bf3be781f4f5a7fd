"""Sweep the parameters that a solution declares, and write the winners into it."""
