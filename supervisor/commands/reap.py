"""`bulkhead reap`: end what servers that were killed left behind, by their records; every server does so at its start.

No server answers this: the records lie in the runtime directory.
"""

from __future__ import annotations

import argparse
import json
import sys

import msgspec

from supervisor import exit_codes
from supervisor.runtime import UnsafeRuntimeDirectory, reap


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    try:
        found = reap()
    except (OSError, UnsafeRuntimeDirectory) as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.FAILED
    if options.json:
        print(json.dumps(msgspec.to_builtins(found)))
        return exit_codes.OK
    for left in found:
        pids = ", ".join(map(str, left.pids)) or "no process"
        print(f"server {left.server}: {pids} ended, directory removed")
    if not found:
        print("nothing was left behind")
    return exit_codes.OK
