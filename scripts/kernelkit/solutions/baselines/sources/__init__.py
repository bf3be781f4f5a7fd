"""The baselines' sources: never imported here, copied into solutions by `baselines.build`.

A file defines `compute`, and `prepare` where something is planned; constants in capitals are set to
a definition's values. `plans.py` and `experts.py` travel with those that import them.
"""
