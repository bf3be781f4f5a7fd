"""Latencies: medians and their uncertainty, the device's clocks, and controls."""
