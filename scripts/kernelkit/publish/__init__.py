"""Publishing: from staged files to reviewed branches, and on request to pull requests.

belongings.py says which files are one definition's; changes.py holds them against the base;
workspace.py commits them in a worktree; checklist.py reviews the commit; bodies.py writes the
texts; hub.py, github.py and pushing.py are all that leaves the machine; session.py is the order.
"""
