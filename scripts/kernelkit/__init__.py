"""kernelkit: the library behind the scripts of this skill pack.

Rooms, in the direction of data: models (config.json to ModelSpec), ops (one module per op family),
dataset (the flashinfer-trace format), bench (measure), report (tables and pages).
Heavy packages (torch, triton, flashinfer) are imported inside functions only.
"""

__version__ = "0.1.0"
