"""`bulkhead model-server`: the scripted model."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    from modelserver.cli import add_arguments

    add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from modelserver.cli import run as serve

    return serve(options)
