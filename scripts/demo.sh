#!/usr/bin/env bash
# One model from its config.json to definitions, workloads, solutions, traces and a report.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

usage() {
  cat <<'EOF'
usage: bash scripts/demo.sh [--model CONFIG] [--tp N] [--out DIR] [--no-venv]

  --model CONFIG  a model's config.json (default: the bundled one of Llama-3.1-8B)
  --tp N          tensor-parallel size (default: 1)
  --out DIR       where everything is written (default: out/demo in this checkout)
  --no-venv       use the active Python environment as it is

Makes .venv in this checkout the first time (Python 3.10 to 3.12; PYTHON= names one).
EOF
}

model=""
tp=1
out=""
venv=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --model | --tp | --out)
      [ $# -ge 2 ] || die 2 "$1 needs a value"
      case "$1" in --model) model="$2" ;; --tp) tp="$2" ;; --out) out="$2" ;; esac
      shift
      ;;
    --no-venv) venv=no ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die 2 "no such option: $1" ;;
  esac
  shift
done
[[ "$tp" =~ ^[1-9][0-9]*$ ]] || die 2 "--tp must be a positive integer, received: $tp"
if [ -n "$model" ]; then
  [ -f "$model" ] || die 2 "no such file: $model (--model takes the path of a config.json)"
  model="$(cd "$(dirname "$model")" && pwd)/$(basename "$model")"
fi
if [ -n "$out" ]; then
  mkdir -p "$out" || die 2 "cannot make the folder $out"
  out="$(cd "$out" && pwd)"
fi
cd "$ROOT"
use_environment "$venv" ""
names=()
if [ -z "$model" ]; then
  model=scripts/demo_assets/config.json
  names=(--model-name llama-3.1-8b)
fi
out="${out:-out/demo}"
mkdir -p "$out/tmp" || die 3 "cannot write to $out"
export TMPDIR="$(cd "$out/tmp" && pwd)" # temporary files stay in there, too
dataset="$out/dataset"
failed=0
started=$SECONDS

as_typed() { # words, quoted only where the shell needs it
  local word line=""
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_./,:=@%+-]+$ ]] || word="$(printf '%q' "$word")"
    line+="$word "
  done
  printf '%s' "${line% }"
}

# Show a command as it can be copied, then run it; its exit code stands in `code`.
step() { # title, script, arguments
  printf '\n== %s\n$ ' "$1"
  local shown="$PY"
  [ "$shown" = "$VENV/bin/python" ] && shown=.venv/bin/python
  printf '%s\n' "$(as_typed "$shown" "${@:2}")"
  code=0
  "$PY" "${@:2}" || code=$?
}

must() { # a step without which the rest means nothing
  step "$@"
  [ "$code" -eq 0 ] || die "$code" "stopped at: $1"
}

may() { # a step that may fail (the report shows it) or, with exit code 4, find nothing to do
  step "$@"
  case "$code" in
    0) ;;
    1) failed=1 ;;
    4) say "nothing to do here: the recorded calls and solutions are Llama-3.1-8B's, this model shares none" ;;
    *) die "$code" "stopped at: $1" ;;
  esac
}

must "Read the model's config" scripts/extract_model.py --config "$model" --output "$out/model"
must "Derive its kernel definitions" scripts/derive_definitions.py --config "$model" \
  --tp-list "$tp" --page-sizes 1,64 --dataset "$dataset" --create ${names[@]+"${names[@]}"}
must "Validate them" scripts/validate_dataset.py --dataset "$dataset" --smoke
may "Workloads from calls recorded in SGLang" scripts/collect_workloads.py \
  --dump scripts/demo_assets/dump --dataset "$dataset"
may "Plain PyTorch solutions" scripts/build_solution.py pack \
  scripts/demo_assets/solutions --dataset "$dataset"
if [ "$code" -eq 0 ] && [ -d "$dataset/workloads" ]; then
  limits=(--workloads 2 --warmup-runs 3 --iterations 15 --num-trials 1 --max-seconds-per-workload 1)
  may "Verify and time them: attention, norms, sampling" scripts/bench.py \
    --dataset "$dataset" --op-types rmsnorm,gqa_paged,gqa_ragged,sampling "${limits[@]}"
  limits[1]=1
  may "Verify and time them: GEMM" scripts/bench.py \
    --dataset "$dataset" --op-types gemm "${limits[@]}"
  must "Validate what was added" scripts/validate_dataset.py --dataset "$dataset"
fi
must "Report" scripts/report.py --dataset "$dataset" -o "$out/report.html"
rmdir "$out/tmp" 2>/dev/null || true

printf '\ndone in %d s: %s\n' $((SECONDS - started)) "$(cd "$out" && pwd)/report.html"
[ "$failed" -eq 0 ] || say "some checks failed: see the report"
exit "$failed"
