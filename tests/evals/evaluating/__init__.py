"""Evals of the skills: the cases, the checks of what an agent left, the runs, the report."""
