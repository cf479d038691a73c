"""`bulkhead model-server`: the scripted model."""

from __future__ import annotations

import argparse

from modelserver.cli import add_arguments
from modelserver.cli import run as serve


def arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    return serve(options)
