"""Read a dataset's traces and show them: a table in the terminal, a page in the browser.

Reads only, and needs no torch.
"""
