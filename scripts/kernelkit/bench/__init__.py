"""Measure solutions that nobody trusts.

evaluation runs a selection, session one definition, entry one solution, trial one solution on one
workload; verdict writes down what came of it. The rooms below do the work:

    judge      the verifier's process: inputs, expected outputs, comparison
    isolation  a solution's process: forked, locked in, ended
    clock      timing, the gate that a GPU's batches pass, controls
    limits     ceilings of a device, cost and floor of a call
    tools      profilers, sanitizers, flashinfer-bench
"""
