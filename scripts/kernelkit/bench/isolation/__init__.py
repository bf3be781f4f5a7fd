"""A solution's process: forked, locked in, fed through shared memory, ended."""
