"""What this machine can do, and which scripts and skills work with that (scripts/doctor.py).

Not to be confused with `kernelkit.solutions.doctor`, which examines a solution whose numbers are
wrong. Nothing here needs a package beyond the standard library, and no package is imported in this
process: each is tried in one of its own, so that a broken one is a line of the report.
"""
