#!/usr/bin/env bash
# Line and branch coverage of scripts/kernelkit under the tests that are named (default: those of the
# evaluator), and a floor for the code that decides verdicts. Slow: not part of the default tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PY="${PYTHON:-python}"
FLOOR="${KERNELKIT_COVERAGE_FLOOR:-95}"

if [ $# -eq 0 ]; then set -- tests/unit/bench; fi
mkdir -p out/coverage
"$PY" -m coverage erase
failed=0
"$PY" -m coverage run -m pytest -q "$@" || failed=1
"$PY" -m coverage combine -q
"$PY" -m coverage report
echo "verdict logic, at least $FLOOR % of lines and branches:"
bench=scripts/kernelkit/bench
decide="$bench/verdict.py,$bench/outcome.py"
for name in compare rules elements table lot draws topk; do decide+=",$bench/judge/$name.py"; done
"$PY" -m coverage report --include="$decide" --show-missing --fail-under="$FLOOR"
exit "$failed"
