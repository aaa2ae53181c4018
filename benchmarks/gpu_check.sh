#!/usr/bin/env bash
# What only a card can show, in under twelve minutes: run it once where there is an NVIDIA GPU, from the project's root.
#
#     benchmarks/gpu_check.sh [FOLDER]       # FOLDER (gpu_check unless given) gets every part's log and summary.txt
#     PYTHON=python3 benchmarks/gpu_check.sh # with another interpreter than .venv/bin/python
#     DEVICE=cpu benchmarks/gpu_check.sh     # a rehearsal without a card: fewer rows, no NF4, no test that needs one
#
# In turn: the tests that need a card; steps of LoRA and QLoRA alone, their memory measured and planned; a cohort of one and
# of eight; the demonstration; an adapter that is loaded there and writes. Exit code 0: every part did what it should.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
DEVICE=${DEVICE:-cuda}
OUT=${1:-gpu_check}
ROWS=1200; [ "$DEVICE" = cuda ] || ROWS=60
if [ "$DEVICE" = cuda ] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "torch sees no NVIDIA GPU here; DEVICE=cpu rehearses this script without one." >&2
    exit 2
fi
if [ -e "$OUT" ]; then
    echo "$OUT is there already; name another folder." >&2
    exit 2
fi
mkdir -p "$OUT"
SUMMARY=$OUT/summary.txt
FAILED=0

part() { # part NAME SECONDS COMMAND...: run it, keep what it says, and note how it ended and how long it took
    local name=$1 seconds=$2 started=$SECONDS code
    shift 2
    timeout --signal=INT "$seconds" "$@" >"$OUT/$name.log" 2>&1
    code=$?
    [ $code -eq 0 ] || FAILED=1
    printf '%-12s %-6s %4d s\n' "$name" "$([ $code -eq 0 ] && echo ok || echo "FAILED ($code)")" $((SECONDS - started)) |
        tee -a "$SUMMARY"
}

study() { # study NAME METHODS SEEDS COHORT
    printf '%s\n' "model: minilm" "dataset: tickets" "methods: $2" "seeds: $3" "cohort: $4" "device: $DEVICE" \
        "epochs: 2" "batch_size: 16" "train_limit: $ROWS" "test_limit: 200" "train_evaluation_limit: 200" >"$OUT/$1.yaml"
}

{
    date -u +%Y-%m-%dT%H:%MZ
    "$PYTHON" -c 'import afina, torch, transformers; print("afina", afina.__version__, "torch", torch.__version__, "transformers", transformers.__version__)'
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
} | tee "$SUMMARY"

TESTS=(-m gpu); [ "$DEVICE" = cuda ] || TESTS=(tests -k "test_the_card_refuses")
part tests 240 "$PYTHON" -m pytest -q -p no:cacheprovider "${TESTS[@]}"

METHODS="[lora, {qlora: {rank: 16}}]"; [ "$DEVICE" = cuda ] || METHODS="[lora, ia3]"
study alone "$METHODS" 1 off
part plan 60 "$PYTHON" -m afina plan "$OUT/alone.yaml"
part alone 120 "$PYTHON" -m afina study "$OUT/alone.yaml" --out "$OUT/alone"
study one lora 1 off
study eight lora 8 8
part one 60 "$PYTHON" -m afina study "$OUT/one.yaml" --out "$OUT/one"
part eight 120 "$PYTHON" -m afina study "$OUT/eight.yaml" --out "$OUT/eight"
[ "$DEVICE" = cuda ] && part demo 150 "$PYTHON" -m afina demo --out "$OUT/demo"
part figures 60 "$PYTHON" - "$OUT" "$DEVICE" <<'PYTHON_END'
"""Print what was measured, and refuse what cannot be."""
import json
import sys
from pathlib import Path

import afina

folder, device = Path(sys.argv[1]), sys.argv[2]
wrong = []
results = {}
for name in ("alone", "one", "eight"):
    results[name] = [json.loads(line) for line in (folder / name / "results.jsonl").read_text().splitlines()]
    for result in results[name]:
        if result["status"] != "ok" or not result["device"].startswith(device):
            wrong.append(f"{name}: {result['method']} {result['status']} on {result.get('device')}: {result['error']}")
            continue
        peak = result["peak_memory_bytes"]
        print(f"{name:6} {result['method']:6} seed {result['seed']}: {result['step_seconds'] * 1e3:7.2f} ms a step, "
              f"{peak / 1e6:7.0f} MB, {result['metric']} {result['test_metric']:.3f}, {result['precision']}, "
              f"{result['measured']}")
        if not peak or not result["step_seconds"] > 0:
            wrong.append(f"{name}: {result['method']} has no memory or no time")
cohort = json.loads(next((folder / "eight" / "cohorts").glob("*/cohort.json")).read_text())
alone = sum(result["train_seconds"] for result in results["one"]) * 8
print(f"eight in a cohort: {cohort['train_seconds']:.1f} s, one after another {alone:.1f} s; "
      f"{cohort['together']} in a pass, {cohort['peak_memory_bytes'] / 1e6:.0f} MB")
first = afina.load(folder / "one" / results["one"][0]["adapter"], device=device)
again = afina.load(folder / "one" / results["one"][0]["adapter"])
texts = ["my parcel is late", "the app does not start", "I was charged twice"]
apart = abs(first.logits(texts) - again.logits(texts)).max()
print(f"logits there and on the CPU differ by {apart:.2e}")
if apart > 0.1:
    wrong.append("an adapter gives other logits on the card than on the CPU")
print(*wrong, sep="\n")
sys.exit(bool(wrong))
PYTHON_END
cat "$OUT/figures.log" | tee -a "$SUMMARY"
exit $FAILED
