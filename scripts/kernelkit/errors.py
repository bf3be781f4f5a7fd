"""The errors of the pack, each with the exit code that a script ends with.

KernelkitError                1  a check failed, or the input is wrong
├── UsageError                2  an option or a path is wrong
├── MissingDependencyError    3  a package or a device is absent
├── NothingSelectedError      4  a selection matched nothing
├── DeadlineError             5  something took too long
├── FormatError               1  a file does not follow the dataset's format
├── ConfigError               1  a model's config.json lacks a field or contradicts itself
└── ConflictError             1  two things of one name differ
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_NOTHING = 4
EXIT_TIMEOUT = 5


class KernelkitError(Exception):
    """What failed, the value received, what is allowed, and the next command."""

    exit_code = EXIT_FAILED

    def __init__(
        self, what: str, *, received: object = None, allowed: str = "", next_step: str = ""
    ) -> None:
        self.what = what
        self.received = received
        self.allowed = allowed
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what]
        if self.received is not None:
            parts.append(f"received: {self.received}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return "; ".join(parts)


class UsageError(KernelkitError):
    """An option or a path is wrong."""

    exit_code = EXIT_USAGE


class MissingDependencyError(KernelkitError):
    """A package or a device is absent."""

    exit_code = EXIT_MISSING


class NothingSelectedError(KernelkitError):
    """A selection matched nothing."""

    exit_code = EXIT_NOTHING


class DeadlineError(KernelkitError):
    """Something took longer than its limit."""

    exit_code = EXIT_TIMEOUT


class FormatError(KernelkitError):
    """A file does not follow the dataset's format."""


class ConfigError(KernelkitError):
    """A model's config.json lacks a field or contradicts itself."""


class ConflictError(KernelkitError):
    """Two things of one name differ."""
