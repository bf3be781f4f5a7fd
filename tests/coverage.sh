#!/usr/bin/env bash
# Line and branch coverage: of the code that decides verdicts, with a floor, under its own tests (three
# minutes); with arguments also of all of scripts/kernelkit under the tests that are named. Slow: not
# part of the default tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PY="${PYTHON:-python}"
FLOOR="${KERNELKIT_COVERAGE_FLOOR:-95}"

whole=yes
if [ $# -eq 0 ]; then
  whole=no
  for name in batches compare compare_limits compare_rules counts draws draws_limits elements \
    evaluation lot table topk verdict; do set -- "$@" "tests/unit/bench/test_$name.py"; done
fi
mkdir -p out/coverage
"$PY" -m coverage erase
failed=0
"$PY" -m coverage run -m pytest -q "$@" || failed=1
"$PY" -m coverage combine -q
if [ "$whole" = yes ]; then "$PY" -m coverage report; fi
echo "verdict logic, at least $FLOOR % of lines and branches:"
bench=scripts/kernelkit/bench
decide="$bench/verdict.py,$bench/outcome.py"
for name in compare rules elements table lot draws topk; do decide+=",$bench/judge/$name.py"; done
"$PY" -m coverage report --include="$decide" --show-missing --fail-under="$FLOOR"
exit "$failed"
