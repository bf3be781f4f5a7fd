"""Recorded FlashInfer calls of a real run, and how they become workloads.

level10 reads the dump folders that FlashInfer writes at FLASHINFER_LOGLEVEL=10, calls says what a
call's arguments are in the dataset's words, match finds the definition, collect writes.
"""
