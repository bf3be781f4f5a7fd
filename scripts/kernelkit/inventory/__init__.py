"""What a model needs, what of it exists, and where that is written down.

manifest.py        the run manifest: records.py, merging.py, locks.py, schema.py belong to it
inventory.py       a model's kernels, each with its standing in the dataset (standing.py), in
                   FlashInfer (flashinfer_tree.py, support.py) and in SGLang (sglang_status.py)
parts.py           parts of the model that no definition stands for
table.py           the inventory for a person
candidates.py      architectures and cookbook models that have no coverage yet
coverage/          the coverage document: written, or checked against configs and files

Everything is read statically: no GPU, no network, neither FlashInfer nor SGLang is imported.
"""
