"""Deploying: the best solution of each definition, as a folder that FlashInfer's Trace Apply loads.

routes.py says which live calls a definition stands for; choosing.py picks solutions by their
traces; entry.py writes the file that Trace Apply calls; curated.py writes the folder; live.py calls
FlashInfer with it on a GPU.
"""
