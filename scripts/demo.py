#!/usr/bin/env python3
"""Three threads at work, one worker killed in the middle of a turn, nothing else disturbed.

    make demo                                                     with the scripted model: no key, no network
    make demo MODEL=NAME PROVIDER_URL=URL [API_KEY_ENV=VARIABLE] [WIRE_API=responses|chat]
                                                                  with a model behind an API

The exit code is 1 if anything that should have happened did not, 2 if the arguments do not fit.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Literal

import demo_story
import demo_verdict
from demo_client import Client, ServerEndedError
from demo_run import DemoFailedError, Run
from demo_screen import BOLD, DIM, RED, YELLOW, Screen
from demo_surroundings import (
    SCRIPTED_MODEL,
    ModelChoice,
    make_repository,
    surroundings,
    why_no_sandbox,
    write_config,
)

from modelserver.embedded import ModelServer, scripted_model
from modelserver.errors import ModelServerError

PATIENCE_S = 60.0  # for each part; with the scripted model it takes seconds
PATIENCE_REAL_S = 600.0  # a real model may think, and may be asked again
LOG_LINES = 20
INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    def variable(name: str) -> str:
        return os.environ.get(name, "").strip()

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=variable("MODEL"), help="name of a real model")
    parser.add_argument(
        "--provider-url", default=variable("PROVIDER_URL"), help="base URL of its API, e.g. .../v1"
    )
    parser.add_argument("--api-key-env", default=variable("API_KEY_ENV"), help="variable that holds the key")
    parser.add_argument(
        "--wire-api", default=variable("WIRE_API") or "responses", help="responses (default) or chat"
    )
    options = parser.parse_args()
    if options.wire_api not in ("responses", "chat"):
        parser.error(f"WIRE_API is responses or chat, not {options.wire_api}")
    if options.provider_url and not options.model:
        parser.error("PROVIDER_URL needs a MODEL")
    if options.api_key_env and not variable(options.api_key_env):
        parser.error(f"API_KEY_ENV names {options.api_key_env}, which is not set")
    return options


def choose_model(options: argparse.Namespace, stack: ExitStack) -> tuple[ModelChoice, ModelServer | None]:
    wire_api: Literal["responses", "chat"] = options.wire_api
    if options.provider_url:
        real = ModelChoice(
            name=options.model,
            url=options.provider_url,
            key_variable=options.api_key_env,
            wire_api=wire_api,
            scripted=False,
        )
        return real, None
    server = stack.enter_context(scripted_model())
    return ModelChoice(name=SCRIPTED_MODEL, url=server.url, wire_api=wire_api, scripted=True), server


def introduce(screen: Screen, model: ModelChoice, missing_sandbox: str) -> None:
    screen.say(screen.paint("Bulkhead demo: three threads, one killed worker", BOLD))
    if model.scripted:
        screen.say(
            screen.paint("The model is SCRIPTED", BOLD, YELLOW)
            + ": a local server that plays directives from the prompts, no language model. Everything else is real:"
        )
        screen.say("the server, its worker processes, the commands in their sandbox, the patches, the kill.")
    else:
        screen.say(f"The model is {model.name} at {model.url} ({model.wire_api} API).")
    if missing_sandbox:
        screen.say(screen.paint(f"NO SANDBOX on this machine: {missing_sandbox}", BOLD, RED))
        screen.say("The scripted commands are harmless and run without one.")
    screen.say()


def play(options: argparse.Namespace, screen: Screen, stack: ExitStack) -> bool:
    """Whether all that should have happened did."""
    model, server = choose_model(options, stack)
    missing = why_no_sandbox()
    if missing and not model.scripted:
        raise DemoFailedError(f"commands of a real model need a sandbox, and there is none here: {missing}")
    introduce(screen, model, missing)
    places = stack.enter_context(surroundings())
    code_word = f"lantern-{secrets.token_hex(3)}"
    stories = demo_story.scripted(code_word) if model.scripted else demo_story.natural(code_word)
    for story in stories:
        make_repository(places.repository(story), story.files)
    write_config(places, model, sandboxed=not missing)
    os.environ["BULKHEAD_RUNTIME_DIR"] = str(
        places.runtime
    )  # where we look for the server, as `bulkhead ps` does
    argv = [str(Path(sys.executable).with_name("bulkhead")), "app-server"]
    try:
        client = stack.enter_context(Client(argv, cwd=places.top, env=places.environment(), log=places.log))
        screen.tell("server", f"{' '.join(Path(word).name for word in argv)}, pid {client.pid}")
        run = Run(client, screen, places, stories, PATIENCE_S if model.scripted else PATIENCE_REAL_S)
        run.open()
        run.first_turns()
        run.long_turns(demo_story.KILL_AFTER if model.scripted else demo_story.KILL_AFTER_REAL)
        run.next_turn()
        run.look_back()
    except (DemoFailedError, ServerEndedError):
        for line in places.log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            screen.say(screen.paint(f"  {line}", DIM))
        raise
    found = demo_verdict.checks(run, model, server.requests() if server else [])
    screen.clear()
    return demo_verdict.show(run, model, found, screen)


def terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, terminated)
    with Screen() as screen, ExitStack() as stack:
        try:
            held = play(options, screen, stack)
        except (DemoFailedError, ServerEndedError, ModelServerError, OSError) as error:
            screen.say(screen.paint(f"The demo failed: {error}", BOLD, RED))
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
