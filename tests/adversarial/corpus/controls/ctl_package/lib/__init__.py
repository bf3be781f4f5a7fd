"""A package of one kernel."""
