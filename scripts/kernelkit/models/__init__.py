"""Model configurations: a HuggingFace config.json read into one flat, typed ModelSpec.

This room knows architectures. It does not know Definitions: those follow from a ModelSpec in ops.
"""
