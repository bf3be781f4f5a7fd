"""The families' formulas with knobs, and their tables of mistakes. See doctor/mutant.py."""
