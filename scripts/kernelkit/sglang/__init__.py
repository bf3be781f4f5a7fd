"""What SGLang does for a model, read from its sources with `ast`; neither sglang nor torch is
imported.

tree finds the sources; sources parses them and follows names; entries finds a model's class;
implementation puts the answer together.
"""
