"""The coverage document: per model a table, definition by definition, and a summary.

lines.py, reading.py              the document as lines and tables; an edit leaves other bytes
titles.py                         which heading stands for which model
expected.py, texts.py             what config and dataset give: rows, marks, sentences
checks.py, against_config.py      contradictions with files and itself; with the configs
writing.py                        the edits that put a model's lines right
session.py, result.py             what update_coverage does, and its result
"""
