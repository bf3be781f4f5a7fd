"""A small abstract interpreter of Python sources: what is decided is computed, what is not is
followed both ways with the condition noted.

values: what an expression can be. files: parsed sources and imports. machine: state, calls and
instances. statements, expressions, operators, lookup, binding: the language. known: facts about
the platform and the server that hold throughout.
"""
