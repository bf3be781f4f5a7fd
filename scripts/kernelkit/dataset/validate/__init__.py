"""The validator: stricter than the format, one finding a fault, no fault hides another."""

from kernelkit.dataset.validate.findings import CODES, Finding
from kernelkit.dataset.validate.report import Report
from kernelkit.dataset.validate.run import CHECKS, validate

__all__ = ["CHECKS", "CODES", "Finding", "Report", "validate"]
