# Kernels that travel with this solution; `main.py` imports them relatively.
