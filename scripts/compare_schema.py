#!/usr/bin/env python3
"""Compares our exported protocol with that of a release of the peer, method by method and type by type.

    compare_schema.py OURS THEIRS [--experimental] [--all]

OURS is a folder written by `generate-json-schema`, or the command of a server ("CMD app-server") that is asked for one;
THEIRS such a folder of the peer. A line tells what is missing, extra or differently typed in ours. Whatever is meant stands
with its reason in schema_exceptions.toml beside this script, or in the table of methods that are left out
(protocol/unsupported.py). Exit code 1 tells of unexplained differences, 2 of wrong arguments.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from schema_bundle import Bundle, load_bundle
from schema_walk import Drift, Walk

EXCEPTIONS = Path(__file__).with_name("schema_exceptions.toml")
EXPORT_S = 60
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from protocol.unsupported import UNSUPPORTED  # noqa: E402 - the path to it is set above


class Intended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differences that are meant; `where` and `what` may hold `*`."""

    where: str
    reason: str
    what: str = "*"

    def covers(self, drift: Drift) -> bool:
        return fnmatchcase(drift.where, self.where) and fnmatchcase(drift.what, self.what)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    difference: list[Intended] = []


def load_exceptions(path: Path = EXCEPTIONS) -> list[Intended]:
    return msgspec.convert(tomllib.loads(path.read_text()), _File).difference


def export(ours: str, folder: Path, *, experimental: bool) -> Bundle:
    if Path(ours).is_dir():
        return load_bundle(Path(ours))
    options = ["--experimental"] if experimental else []
    command = [*shlex.split(ours), "generate-json-schema", "--out", str(folder), *options]
    subprocess.run(command, check=True, timeout=EXPORT_S)
    return load_bundle(folder)


def left_out(drift: Drift) -> str | None:
    """The reason why a method is not served, if that is documented."""
    method = drift.where.removeprefix("method ")
    if method in UNSUPPORTED and drift.what == "missing":
        return UNSUPPORTED[method].group.because
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours")
    parser.add_argument("theirs", type=Path)
    parser.add_argument(
        "--experimental", action="store_true", help="ask the server for an experimental export"
    )
    parser.add_argument("--all", action="store_true", help="print what is meant, too, with the reasons")
    options = parser.parse_args()
    try:
        theirs = load_bundle(options.theirs)
        with tempfile.TemporaryDirectory() as folder:
            ours = export(options.ours, Path(folder), experimental=options.experimental)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"compare_schema.py: {error}", file=sys.stderr)
        return 2
    walk = Walk(ours, theirs)
    walk.compare()
    exceptions = load_exceptions()
    unexplained = 0
    explained = 0
    for drift in sorted(walk.found):
        reason = left_out(drift) or next((rule.reason for rule in exceptions if rule.covers(drift)), None)
        if reason is None:
            unexplained += 1
            print(drift)
        else:
            explained += 1
            if options.all:
                print(f"{drift}    ({reason})")
    served = len(ours.requests), len(ours.notifications), len(ours.server_requests)
    print(
        "{} methods, {} notifications, {} server requests; ".format(*served)
        + f"{unexplained} differences without a reason, {explained} with one"
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
