"""The flashinfer-trace dataset format: models, a store over the folder tree, and a validator.

This room knows the format and nothing else: no op family, no torch.
"""
