"""Packages whose folders are not named like them; everything else stands in pyproject.toml.

The scripts, the skills (their templates are copied by new_solution.py) and the documents' templates
become parts of the installed package: see kernelkit/places.py.
"""

from setuptools import find_packages, setup

PARTS = {
    "kernelkit.commands": "scripts",
    "kernelkit.skills": ".claude/skills",
    "kernelkit.documents": "templates",
}

setup(
    packages=[*find_packages("scripts"), *PARTS],
    package_dir={"": "scripts", **PARTS},
)
