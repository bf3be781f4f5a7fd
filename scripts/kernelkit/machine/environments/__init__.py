"""Environments for a purpose, made from locks that were seen working (scripts/setup_env.py).

Nothing here needs a package beyond the standard library: it runs before there is an environment.
A lock is a list of exact pins for pip with a head of `# key: value` lines; `locks.py` says which.
"""
