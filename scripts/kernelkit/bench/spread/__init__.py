"""One run on many devices: who does what, what is given back, and the processes that do it."""
