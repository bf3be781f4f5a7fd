"""Check a solution before any GPU time is spent: static rules, and a smoke run on the CPU."""
