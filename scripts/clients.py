#!/usr/bin/env python3
"""Drive our server with unmodified clients from PyPI and npm, and print a table of what worked.

    scripts/clients.py [--keep DIR] [CLIENT...]

Each client is installed into an environment of its own (none is a dependency of ours), pointed at the `bulkhead` beside
this interpreter, and goes through a session of scripts/clients/ with the scripted model: start a thread, stream a turn,
approve a command, interrupt a turn, resume, list. Exit code 1: a step failed; 77: no client could be had.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modelserver.embedded import ModelServer, scripted_model  # noqa: E402 - the packages lie beside this folder

SESSIONS = Path(__file__).with_name("clients")
STEPS = ("start", "stream", "approval", "interrupt", "resume", "list")
SKIPPED = 77
INSTALL_S = 240
SESSION_S = 60
SHOWN_LINES = 12
"""Of what a failed session wrote."""


NEWER = 4
"""So many versions of Python from the needed one on are looked for, after what the variable CLIENTS_PYTHON names."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """`bare` packages are installed without what they depend on: those pin the very program that we stand in for."""

    name: str
    session: str
    packages: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    npm: tuple[str, ...] = ()
    adapter: str = ""
    """A program of the packages that the session starts."""


CLIENTS = (
    Client(
        name="openai-codex",
        session="openai_codex_session.py",
        packages=("pydantic>=2.12", "packaging>=26.2"),
        bare=("openai-codex==0.163.0",),
    ),
    Client(
        name="codex-app-server-sdk",
        session="codex_app_server_sdk_session.py",
        packages=("codex-app-server-sdk==0.4.1",),
        python=(3, 12),
    ),
    Client(
        name="codex-app-server-client",
        session="codex_app_server_client_session.py",
        packages=("codex-app-server-client==0.1.0",),
    ),
    Client(
        name="codex-python-sdk",
        session="codex_python_sdk_session.py",
        packages=("codex-python-sdk==0.2.1",),
    ),
    Client(
        name="codex-python-sdk-unofficial",
        session="codex_python_sdk_unofficial_session.py",
        packages=("codex-python-sdk-unofficial==0.128.0",),
    ),
    Client(
        name="codex-agent-sdk",
        session="codex_agent_sdk_session.py",
        packages=("codex-agent-sdk==0.0.2",),
    ),
    Client(
        name="tdai-codex-sdk",
        session="tdai_codex_sdk_session.py",
        packages=("pydantic>=2.12",),
        bare=("tdai-codex-sdk==0.3.2",),
    ),
    Client(
        name="codexed",
        session="codexed_session.py",
        packages=("codexed==1.2.2",),
        python=(3, 13),
    ),
    Client(
        name="ai-sdk-provider-codex-cli",
        session="ai_sdk_cli_session.mjs",
        npm=("ai-sdk-provider-codex-cli@1.4.1", "ai@6"),
    ),
    Client(
        name="ai-sdk-provider-codex-app-server",
        session="ai_sdk_session.mjs",
        npm=("ai-sdk-provider-codex-app-server@1.1.7", "ai@6"),
    ),
    Client(
        name="@agentclientprotocol/codex-acp",
        session="codex_acp_session.py",
        npm=("@agentclientprotocol/codex-acp@2.6.0",),
        adapter="node_modules/@agentclientprotocol/codex-acp/dist/index.js",
    ),
)


class Outcome(msgspec.Struct):
    name: str
    done: set[str] = set()
    none: set[str] = set()
    """Steps that the client has no way to do."""
    skipped: str = ""
    failed: str = ""

    def cell(self, step: str) -> str:
        if step in self.done:
            return "yes"
        return "-" if step in self.none or self.skipped else "NO"


class Unavailable(Exception):
    """A client cannot be had here."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="folder for the environments, to be used again")
    parser.add_argument("clients", nargs="*", help="names; all without")
    options = parser.parse_args()
    known = {client.name: client for client in CLIENTS}
    if unknown := set(options.clients) - known.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    with _folder(options.keep) as folder, scripted_model() as model:
        outcomes = [
            _try(known[name], folder / name.strip("@").replace("/", "-"), model)
            for name in options.clients or known
        ]
    width = max(len(outcome.name) for outcome in outcomes)
    print(" ".join([" " * width, *(f"{step:<9}" for step in STEPS)]))
    for outcome in outcomes:
        cells = [f"{outcome.cell(step):<9}" for step in STEPS]
        print(
            " ".join(
                [f"{outcome.name:<{width}}", *cells, f"skipped: {outcome.skipped}" * bool(outcome.skipped)]
            )
        )
    for outcome in outcomes:
        if outcome.failed:
            print(f"\n{outcome.name}:\n{outcome.failed}", file=sys.stderr)
    if any(outcome.failed for outcome in outcomes):
        return 1
    return SKIPPED if all(outcome.skipped for outcome in outcomes) else 0


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="bulkhead-clients-", dir="/var/tmp") as name:
            yield Path(name)


def _try(client: Client, folder: Path, model: ModelServer) -> Outcome:
    outcome = Outcome(client.name)
    folder.mkdir(exist_ok=True)
    try:
        command = _install(client, folder)
    except Unavailable as reason:
        outcome.skipped = str(reason)
        return outcome
    with tempfile.TemporaryDirectory(prefix="bulkhead-session-", dir="/var/tmp") as name:
        home, workspace = Path(name, "home"), Path(name, "workspace")
        home.mkdir()
        workspace.mkdir()
        (home / "config.toml").write_text(
            'model = "gpt-5.5"\nmodel_provider = "scripted"\n[model_providers.scripted]\n'
            f'name = "Scripted model"\nbase_url = "{model.url}"\n'
        )
        arguments = [Path(sys.executable).with_name("bulkhead"), home, workspace]
        if client.adapter:
            arguments.append(folder / client.adapter)
        try:
            session = subprocess.run(
                [*command, *arguments],
                capture_output=True,
                text=True,
                timeout=SESSION_S,
                check=False,
                cwd=workspace,
                start_new_session=True,
            )
            told, errors, code = session.stdout, session.stderr, session.returncode
        except subprocess.TimeoutExpired as late:
            told, errors, code = _text(late.stdout), f"{_text(late.stderr)}\nnot done after {SESSION_S} s", 1
    for line in told.splitlines():
        word, _, step = line.partition(" ")
        if step in STEPS and word in ("done", "none"):
            (outcome.done if word == "done" else outcome.none).add(step)
    if code or len(outcome.done | outcome.none) < len(STEPS):
        outcome.failed = (
            "\n".join([*told.splitlines(), *errors.splitlines()][-SHOWN_LINES:]) or f"exit code {code}"
        )
    return outcome


def _install(client: Client, folder: Path) -> list[str | Path]:
    """The command of the session, without its arguments."""
    session = SESSIONS / client.session
    if client.npm:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Unavailable(f"there is no {program}")
        if not (folder / "node_modules").exists():
            _run(
                [
                    "npm",
                    "install",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--omit=optional",
                    "--prefix",
                    folder,
                    *client.npm,
                ]
            )
        if session.suffix == ".mjs":
            # Modules are looked for beside the script that imports them.
            return ["node", shutil.copy(session, folder)]
        return [sys.executable, session]
    python = folder / "bin" / "python"
    if not python.exists():
        _run([_interpreter(client.python), "-m", "venv", folder])
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if client.bare:
            _run([*pip, "--no-deps", *client.bare])
        _run([*pip, *client.packages])
    return [python, session]


def _interpreter(version: tuple[int, int]) -> str:
    if sys.version_info[:2] >= version:
        return sys.executable
    names = [f"python{version[0]}.{version[1] + later}" for later in range(NEWER)]
    for name in (os.environ.get("CLIENTS_PYTHON", ""), *names):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    raise Unavailable(f"it needs Python {version[0]}.{version[1]}")


def _run(command: Sequence[str | Path]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
            env={**os.environ, "CI": "1"},
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("the installation took too long") from None
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise Unavailable(f"it could not be installed ({''.join(last)})")


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


if __name__ == "__main__":
    sys.exit(main())
