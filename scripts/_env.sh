# Shared by demo.sh and test.sh: an environment in .venv of this checkout. Sourced, not run.
#
# Sets ROOT and, after `use_environment`, PY. PYTHON= names the interpreter to build .venv from.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
TORCH="torch==2.13.0"
TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"
COMPAT=("flashinfer-bench==0.1.2" "docstring-parser>=0.16,<1")
CORE_MODULES="pydantic, numpy, safetensors, tqdm, jinja2, huggingface_hub, torch"

say() { printf '%s\n' "$*" >&2; }

die() { # exit code, sentence
  say "error: $2"
  exit "$1"
}

# The interpreter runs, and is 3.10, 3.11 or 3.12.
python_is_right() {
  "$1" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
    >/dev/null 2>&1
}

# Print the interpreter to build from: $PYTHON if given, else the first right one on PATH.
find_python() {
  local name
  if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null 2>&1 || die 3 "PYTHON=$PYTHON is no program"
    python_is_right "$PYTHON" ||
      die 3 "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1); Python 3.10, 3.11 or 3.12 is needed"
    printf '%s\n' "$PYTHON"
    return
  fi
  for name in python3 python python3.12 python3.11 python3.10; do
    if command -v "$name" >/dev/null 2>&1 && python_is_right "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  die 3 "no Python 3.10, 3.11 or 3.12 on PATH (python3 is $(python3 --version 2>&1 || true)); name one with PYTHON="
}

# What the environment must hold: changes with pyproject.toml, this file and what is asked for.
stamp_of() {
  "$1" - "$ROOT" "$2" <<'EOF'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
parts = [(root / name).read_bytes() for name in ("pyproject.toml", "scripts/_env.sh")]
print(hashlib.sha256(b"\0".join([*parts, sys.argv[2].encode(), sys.version.encode()])).hexdigest())
EOF
}

# pip into .venv, quietly; its whole output is in .venv/install.log. Leaves no cache behind.
pip_install() {
  mkdir -p "$VENV/tmp"
  TMPDIR="$VENV/tmp" "$VENV/bin/python" -m pip install --no-cache-dir --no-input \
    --disable-pip-version-check "$@" >>"$VENV/install.log" 2>&1
}

install_failed() {
  if grep -q "No space left on device" "$VENV/install.log"; then
    die 3 "the disk is full: the environment needs about 2 GB in $VENV; free some space and run this again"
  fi
  say "$(tail -n 5 "$VENV/install.log")"
  die 3 "pip could not install $1; its whole output is in $VENV/install.log; --no-venv takes an environment that is active"
}

# A CPU build of torch where there is no NVIDIA GPU and one can be had; else what the index has.
install_torch() {
  if [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then
    say "installing $TORCH for the CPU (no NVIDIA GPU here)"
    pip_install --retries 0 --timeout 15 --index-url "$TORCH_CPU_INDEX" "$TORCH" && return
  fi
  say "installing $TORCH"
  pip_install "$TORCH" || install_failed "$TORCH"
}

make_venv() { # interpreter
  "$1" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    die 3 "$("$1" --version) has no venv module; on Debian and Ubuntu: apt install python3-venv; or name another Python with PYTHON="
  say "making $VENV with $("$1" --version)"
  rm -rf "$VENV"
  if ! "$1" -m venv "$VENV" >/dev/null 2>&1; then
    [ "$(df -Pk "$ROOT" | awk 'NR == 2 {print $4}')" -gt 51200 ] ||
      die 3 "the disk is full: the environment needs about 2 GB in $VENV"
    die 3 "$1 could not make $VENV"
  fi
}

# Set PY: the active environment with --no-venv, else .venv, made and filled where it is not yet.
use_environment() { # yes|no (use .venv), "compat" or ""
  if [ "$1" = no ]; then
    PY="${PYTHON:-$(command -v python3 || command -v python || true)}"
    [ -n "$PY" ] && python_is_right "$PY" || die 3 "--no-venv: the active Python must be 3.10, 3.11 or 3.12"
    "$PY" -c "import $CORE_MODULES" >/dev/null 2>&1 ||
      die 3 "--no-venv: the active environment lacks one of: $CORE_MODULES (pip install -e '.[torch,dev]')"
    return
  fi
  local base
  PY="$VENV/bin/python"
  if ! python_is_right "$PY" || { [ -n "${PYTHON:-}" ] && ! same_version "$PYTHON" "$PY"; }; then
    base="$(find_python)"
    make_venv "$base"
  fi
  fill_venv "$2"
}

same_version() { # two interpreters
  python_is_right "$1" || find_python >/dev/null
  [ "$("$1" --version 2>&1)" = "$("$2" --version 2>&1)" ]
}

fill_venv() { # "compat" or ""
  local stamp
  stamp="$(stamp_of "$PY" deps)"
  if [ "$(cat "$VENV/deps.stamp" 2>/dev/null || true)" != "$stamp" ]; then
    : >"$VENV/install.log" || die 3 "cannot write to $VENV (is the disk full?)"
    install_torch
    say "installing what pyproject.toml names (core, torch, dev)"
    pip_install -e "$ROOT[torch,dev]" || install_failed "the dependencies"
    printf '%s\n' "$stamp" >"$VENV/deps.stamp"
    rm -f "$VENV/compat.stamp"
  fi
  [ "$1" = compat ] || return 0
  if [ "$(cat "$VENV/compat.stamp" 2>/dev/null || true)" != "$stamp" ]; then
    # Without its dependencies: its data models need torch and pydantic only, not flashinfer.
    say "installing ${COMPAT[0]} (its data models, to test what we write)"
    if pip_install --no-deps "${COMPAT[@]}"; then
      printf '%s\n' "$stamp" >"$VENV/compat.stamp"
    else
      say "note: ${COMPAT[0]} cannot be installed here; its tests will be skipped"
    fi
  fi
}
