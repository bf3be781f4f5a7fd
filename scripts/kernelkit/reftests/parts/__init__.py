"""Building blocks of generated tests: plain functions over torch, embedded verbatim.

A part imports torch, the standard library and other parts only; `bundle.py` takes from the
parts the functions that a test needs. Constants in capitals may be set per definition. Packages
that hold ground truth are imported inside functions: a test asks first whether they are there.
"""
