"""Time one solver at one setting on one instance, in this process.

    python -m benchmarks.peers.worker SOLVER NAME SETTING OUT REPEATS

REPEATS runs (one if it takes over 10 s), the cap in CPU seconds is kept by the kernel's profiling timer, which ends the
process: what was measured before it is already on disk. Scoring is not timed.
"""

from __future__ import annotations

import importlib
import json
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.instances import fixed_program
from benchmarks.true_gap import score_blocks

MODULES = {"scnn": "scnn_al", "adelie": "adelie_cone", "clarabel": "clarabel_cvxpy", "rectifold": "rectifold_cone"}
LONG_RUN, CAP, WALL_CAP = 10.0, 60.0, 1200.0


def limit(cpu: float, wall: float) -> None:
    """End this process when either budget is spent (0 lifts it)."""
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)


def measure(solver: str, name: str, setting: dict[str, Any], out: Path, repeats: int) -> None:
    """Run, write the times after each run, score the last iterate."""
    module = importlib.import_module(f"benchmarks.peers.{MODULES[solver]}")
    program = fixed_program(name)
    state = module.prepare(program, setting)
    record: dict[str, Any] = {"cpu": [], "wall": [], "own": []}
    answer: Any = None
    while len(record["cpu"]) < repeats and not (record["cpu"] and record["cpu"][0] > LONG_RUN):
        if hasattr(module, "rearm"):
            module.rearm(state, setting)
        limit(CAP, WALL_CAP)
        wall, cpu = time.perf_counter(), time.process_time()
        answer, own = module.solve(state, program, setting)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        limit(0, 0)
        for key, value in (("cpu", cpu), ("wall", wall), ("own", own)):
            record[key].append(value)
        if len(record["cpu"]) == 1:
            W = module.finish(answer, program) if hasattr(module, "finish") else answer
            record["score"] = score_blocks(program.X, program.y, program.patterns, program.lam, W).to_dict()
            record["excess"] = record["score"]["objective"] / program.optimum - 1
        out.write_text(json.dumps(record))
    for key in ("cpu", "wall"):
        record[f"{key}_median"] = statistics.median(record[key])
    out.write_text(json.dumps(record))


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
