"""The generated types are those of the description."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NO_GENERATOR = 77


def test_the_generated_types_are_not_stale():
    env = {**os.environ, "VENV": str(Path(sys.executable).parents[1])}
    done = subprocess.run(
        [ROOT / "scripts" / "generate_backend_types", "--check"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == NO_GENERATOR:
        pytest.skip("there is no datamodel-codegen here")
    assert done.returncode == 0, done.stdout + done.stderr
