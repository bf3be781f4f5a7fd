"""Recorded calls to workloads.

level10 and recordings read what was recorded, pairing finds a run's plan, apis says how each API
is read (attention, pointwise, recurrent, experts), matching proves the definition, coverage
chooses, writing puts lines and blobs into a dataset. pipeline is the whole.
"""
