"""Exporting: a dataset as flat tables for the hub's viewer and for `datasets`, with a card.

views.py makes rows; tables.py writes them as Parquet and JSON lines; counting.py counts; card.py
writes README.md, whose head tells `datasets` what the folder holds.
"""
