#!/usr/bin/env bash
# Run the tests in .venv of this checkout, which is made or reused.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

usage() {
  cat <<'EOF'
usage: bash scripts/test.sh [--no-venv] [pytest arguments]

Runs all tests, or those that the pytest arguments choose. Makes .venv in this checkout the first
time (Python 3.10 to 3.12; PYTHON= names one). --no-venv uses the active environment as it is.
Tests that need a GPU, flashinfer-bench or more data are skipped, and said to be, where these are
absent. KERNELKIT_EXTRA_DATA names a folder with recorded data of real models. KERNELKIT_SLOW=1 runs
those that take minutes, too.
EOF
}

venv=yes
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --no-venv) venv=no ;;
    -h | --help) usage; exit 0 ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

use_environment "$venv" compat
if [ ${#arguments[@]} -eq 0 ]; then
  arguments=(-q -n auto --dist loadfile)
  cd "$ROOT"
fi
say "running pytest ${arguments[*]}"
exec "$PY" -m pytest --rootdir "$ROOT" -c "$ROOT/pyproject.toml" "${arguments[@]}"
