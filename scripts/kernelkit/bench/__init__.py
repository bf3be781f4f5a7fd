"""Measure solutions: run each in a process of its own, compare with the reference, time both.

selection chooses what runs, evaluation runs it and writes traces, process starts and ends workers,
worker is what runs inside one, compare and draws judge outputs, timing measures.
"""
