"""Other programs that look at a solution: profilers, sanitizers, flashinfer-bench."""
