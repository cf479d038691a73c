"""`bulkhead metrics`: the server's figures in the text format of Prometheus.

{"id": 1, "method": "metrics"}  ->  {"id": 1, "result": {"text": "# HELP bulkhead_workers ..."}}
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from supervisor.commands import target
from supervisor.exposition import render

if TYPE_CHECKING:
    from supervisor.front import Front


def arguments(parser: argparse.ArgumentParser) -> None:
    target.arguments(parser, thread=False)


async def serve(front: Front, params: dict[str, Any]) -> dict[str, Any]:
    return {"text": render(front)}


def run(options: argparse.Namespace) -> int:
    code, result = target.ask_server(options, "metrics")
    if result is not None:
        print(json.dumps(result) if options.json else result["text"], end="\n" if options.json else "")
    return code
