"""`bulkhead app-server generate-ts` and `generate-json-schema`: the protocol for readers of other languages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from supervisor import exit_codes

__all__ = ["KINDS", "arguments", "run"]

KINDS = {
    "generate-ts": "write TypeScript types of the protocol",
    "generate-json-schema": "write JSON Schemas of the protocol",
}


def arguments(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands to those of `app-server`."""
    for name, summary in KINDS.items():
        kind = tools.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        kind.add_argument(
            "-o",
            "--out",
            required=True,
            type=Path,
            metavar="DIR",
            help="folder for the files; made if need be",
        )
        kind.add_argument(
            "--experimental", action="store_true", help="with the experimental methods and fields"
        )
        kind.set_defaults(tool=sys.modules[__name__], kind=name)


def run(options: argparse.Namespace) -> int:
    # Every start of a server passes this module: the exporter is imported by those who export.
    from protocol.export.document import document  # noqa: PLC0415
    from protocol.export.jsonschema import json_files  # noqa: PLC0415
    from protocol.export.typescript import typescript_files  # noqa: PLC0415

    make = typescript_files if options.kind == "generate-ts" else json_files
    files = make(document(experimental=options.experimental))
    try:
        for name, text in files.items():
            path = options.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.FAILED
    return exit_codes.OK
