"""Where a recording is replayed: a user's home, a project folder and the scripted model, all gone afterwards."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from private_keyring import private_keyring
from trace_exceptions import Setup
from trace_names import Names

# Not /tmp: Codex makes no sandbox for a home below the temporary directory.
WORK_PARENT = "/var/tmp"
MODEL_START_TIME = 10.0  # seconds
CONFIG = """\
model = "{model}"
model_provider = "{provider}"
{top}
[model_providers.mock]
name = "Mock"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 1
stream_max_retries = 1
{config}
"""


class Surroundings:
    """Home, project folder and model server of one recording or chain of recordings, gone with `close`."""

    def __init__(self, tools: Path) -> None:
        self.user_home = Path(tempfile.mkdtemp(prefix="trace-", dir=WORK_PARENT))
        self.log = self.user_home / "stderr.log"
        self.project = self.user_home / "project"
        self.project.mkdir()
        (self.user_home / ".codex").mkdir()
        (self.user_home / "work").mkdir()
        self.names = Names(self.user_home)
        self._tools = tools
        self._port = _free_port()
        self._issuer_port = _free_port()
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._keyrings = contextlib.ExitStack()
        self._run("mock.py", self._port, "model")

    def _run(self, program: str, port: int, record: str) -> None:
        """Start one of the tools that the recordings were made with."""
        helper = subprocess.Popen(
            [sys.executable, str(self._tools / program), str(port), str(self.user_home / record)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._helpers.append(helper)
        try:
            _await_port(port)
        except OSError:
            self.close()
            raise

    def prepare(self, setups: Sequence[Setup], recordings: Path) -> dict[str, str]:
        """Writes the configuration and files of a recording; returns the server's environment."""
        values = {  # in this order: the TOML of a setup has placeholders too
            "{top}": "\n".join(setup.top for setup in setups),
            "{config}": "\n".join(setup.config for setup in setups),
            "{model}": next((setup.model for setup in setups if setup.model), "gpt-5.5"),
            "{provider}": next((setup.provider for setup in setups if setup.provider), "mock"),
            "{port}": str(self._port),
            "{python}": sys.executable,
            "{recordings}": str(recordings.resolve()),
            "{home}": str(self.user_home),
            "{issuer}": f"http://127.0.0.1:{self._issuer_port}",
        }
        extra: dict[str, str] = {}
        if any(setup.keyring for setup in setups):
            folder = self._place("keyring/bus").parent
            keyring = self._keyrings.enter_context(private_keyring(folder))
            extra["DBUS_SESSION_BUS_ADDRESS"] = keyring.env["DBUS_SESSION_BUS_ADDRESS"]
        if any(setup.issuer for setup in setups):
            self._run("authmock.py", self._issuer_port, "issuer.log")
        text = CONFIG
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        (self.user_home / ".codex" / "config.toml").write_text(text)
        for setup in setups:
            self.names.values |= setup.values
            for name, value in setup.env.items():
                extra[name] = value.replace("{home}", values["{home}"]).replace(
                    "{issuer}", values["{issuer}"]
                )
            for name, content in setup.files.items():
                encoded = content.removeprefix("base64:")
                data = content.encode() if encoded is content else base64.b64decode(encoded)
                self._place(name).write_bytes(data)
            for name, source in setup.copies.items():
                text = (recordings.parent / source).read_text()
                self._place(name).write_text(self.names.text(text))
            if setup.git:
                self._make_repository()
        return environment(self.user_home, extra)

    def _make_repository(self) -> None:
        author = ["-c", "user.name=Recorder", "-c", "user.email=recorder@localhost"]
        for command in (
            ["init", "-q", "-b", "main"],
            [*author, "commit", "-q", "--allow-empty", "-m", "first"],
        ):
            subprocess.run(["git", *command], cwd=self.project, check=True)

    def _place(self, name: str) -> Path:
        target = self.user_home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def close(self) -> None:
        self._keyrings.close()
        for helper in self._helpers:
            helper.kill()
            helper.wait()
        shutil.rmtree(self.user_home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    deadline = time.monotonic() + MODEL_START_TIME
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def cleared(paths: Sequence[Path]) -> Iterator[None]:
    """Removes what the recording's commands leave at fixed places; what was there before stays."""
    ours = [path for path in paths if not path.exists()]
    try:
        yield
    finally:
        for path in ours:
            path.unlink(missing_ok=True)


def environment(user_home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with the user's home, and every key and setting of a real one left out."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CODEX_", "OPENAI_", "BULKHEAD_", "XDG_"))
    }
    home = str(user_home / ".codex")
    return {**kept, "HOME": str(user_home), "CODEX_HOME": home, "BULKHEAD_HOME": home, **extra}
