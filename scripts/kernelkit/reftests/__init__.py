"""Reference tests: pytest files that hold a definition's reference against ground truth.

plans.py says for each op family what is tested against what; bundle.py takes the functions that a
test needs from parts/; write.py renders the file; run.py runs it and records the outcome.
"""
