"""Not the kernelkit of the evaluator."""

EPSILON = 1e-6
