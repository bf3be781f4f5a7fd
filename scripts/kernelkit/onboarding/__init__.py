"""From a model's name to reviewed pull requests: the phases over one run manifest.

options.py     the command line                    run.py      one run: model, dataset, manifest
session.py     the order of the phases, the lock   summary.py    the result as text

repositories.py  phase 0                           inventory_phase.py  phase 1
definitions.py   phase 2: crosscheck.py (FlashInfer's templates), confirmation.py (a SGLang pass),
                 references.py (reference tests), requests.py and integration.py (texts for others)
workloads.py     phase 3: baselines, recording, evaluation
publishing.py    phase 4

The manifest is the only state. A step is done again unless the manifest says that it was done from
the same things; every step may be done twice without harm.
"""
