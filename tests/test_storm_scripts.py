"""The scripts for long runs, run shortly."""

from __future__ import annotations

import subprocess
import sys

from running_server import ROOT


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_stress_tells_its_latencies_and_loses_nothing(tmp_path):
    plot = tmp_path / "latency.svg"
    out = run("stress.py", "--threads", "6", "--turns", "2", "--svg", str(plot))
    assert "6 threads" in out
    assert "12 turns" in out
    assert "p99" in out
    assert plot.read_text().startswith("<svg")


def test_chaos_strikes_and_every_turn_ends_once():
    out = run("chaos.py", "--threads", "6", "--seconds", "5", "--seed", "2")
    assert "strikes:" in out
    assert "every turn ended once" in out
