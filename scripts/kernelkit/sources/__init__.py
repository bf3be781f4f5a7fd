"""The repositories that the pack reads: cloned and updated through git, recorded by commit.

`fetch.bring_all` brings them; `config.read` tells other skills where they stand. Nothing here needs
a package beyond the standard library: it is the first thing that runs on a new machine.
"""
