"""A short SGLang pass that shows which FlashInfer kernels a model calls, and in which shapes.

reduction   a config.json with few layers; heads and experts divided as on one rank
variants    which flags and variables make a family visible
planning    one pass for each (TP, EP, page size, variant)
requests    what is asked of the engine
routing     what SGLang does not route through FlashInfer, and the file that decides it
running     a pass: its process group, its log, its retries
context     recorded calls as the context that the normaliser reads
report      captured, not routed, missing
program/    what runs inside SGLang's own Python
"""
