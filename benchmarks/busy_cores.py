"""Milliseconds of a training step while another program holds a core, with and without what `ops/waiting.py` does.

    python benchmarks/busy_cores.py --rounds 6 --out benchmarks/results/busy_cores.json

`full` on a model (MiniLM), batches of 12 rows of 32 tokens, as many threads as cores. Each measurement is a process of its
own, of which the first steps are left out; the two kinds take turns, with no other program and beside one that never pauses.
Without means that OMP_DYNAMIC is set to what it is anyway, by which threads wait as OpenMP has it. Nothing else may run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from record import write_record

_KINDS = {"threads that sleep at once": {}, "threads as OpenMP has them": {"OMP_DYNAMIC": "false"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--seconds", type=float, default=6, help="that each measurement takes, behind two of warming up"
    )
    parser.add_argument("--here", action="store_true", help="measure once, in this process")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(steps(options.model, options.seconds)))
        return
    found: dict[str, dict[str, list[float]]] = {}
    for place, beside in enumerate(("no other program", "one that never pauses")):
        hog = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) if place else None
        try:
            for _ in range(options.rounds):
                for kind, variables in _KINDS.items():
                    found.setdefault(beside, {}).setdefault(kind, []).append(apart(options, variables))
        finally:
            if hog is not None:
                hog.kill()
        for kind, values in found[beside].items():
            print(f"beside {beside}, {kind}: {1000 * median(values):.0f} ms ({len(values)} rounds)", flush=True)
    if options.out:
        write_record(options.out, model=options.model, seconds_a_step=found)


def apart(options: argparse.Namespace, variables: dict[str, str]) -> float:
    """Measure in a process of its own, with these variables; return the median step's seconds."""
    command = [sys.executable, __file__, "--here", "--model", options.model, "--seconds", str(options.seconds)]
    settled = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(command, env=settled | variables, check=True, capture_output=True, text=True)
    seconds: float = json.loads(done.stdout)
    return seconds


def steps(model: str, seconds: float) -> float:
    """Return the median seconds of a step of training all of a model."""
    import torch

    from afina.backbone.load import load_backbone

    net = load_backbone(model).model.train().requires_grad_(True)
    torch.manual_seed(0)
    ids = torch.randint(1000, 20_000, (12, 32))
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5)
    taken: list[float] = []
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < 2 + seconds or len(taken) < 3:
        net(input_ids=ids).last_hidden_state.square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        if now - start > 2:  # others are looked at every half second
            taken.append(time.perf_counter() - now)
    return median(taken)


if __name__ == "__main__":
    main()
