"""`python -m workers CONTROL_FD LIFELINE_FD`: a zygote that is an interpreter of its own."""

from __future__ import annotations

import importlib
import sys

from sandbox_backends import prctl


def main() -> None:
    lifeline = int(sys.argv[2])
    if prctl.die_with_parent(lifeline):
        # Only now, since it takes its time.
        importlib.import_module("workers.zygote").main(int(sys.argv[1]), lifeline)


if __name__ == "__main__":
    main()
