"""Where the demo plays: a temporary folder with a home, a runtime directory and one git repository a thread."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
from demo_story import Story

from protocol.policy import WorkspaceWrite
from sandbox_backends import SandboxUnavailable, View, default_registry

SCRIPTED_MODEL = (
    "gpt-5.5"  # models known by name are offered apply_patch; the scripted one answers to any name
)
_SANDBOX = """
sandbox_mode = "workspace-write"

[sandbox_workspace_write]
exclude_slash_tmp = true  # the repositories are there: each thread may write only in its own
exclude_tmpdir_env_var = true
"""


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The model of all threads. `key_variable`: the environment variable with the key, empty for none."""

    name: str
    url: str
    key_variable: str = ""
    wire_api: Literal["responses", "chat"] = "responses"
    scripted: bool


class Surroundings(msgspec.Struct, frozen=True):
    top: Path

    @property
    def home(self) -> Path:
        return self.top / "home"

    @property
    def runtime(self) -> Path:
        return self.top / "run"

    @property
    def log(self) -> Path:
        return self.top / "server.log"

    def repository(self, story: Story) -> Path:
        return self.top / story.name

    def environment(self) -> dict[str, str]:
        """Of the server."""
        ours = {"BULKHEAD_HOME": str(self.home), "BULKHEAD_RUNTIME_DIR": str(self.runtime)}
        return {**os.environ, **ours}


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Made here, gone afterwards."""
    with TemporaryDirectory(prefix="bulkhead-demo-", ignore_cleanup_errors=True) as folder:
        places = Surroundings(Path(folder).resolve())
        places.home.mkdir(mode=0o700)
        yield places


def why_no_sandbox() -> str:
    """Why commands cannot be confined on this machine; empty if they can."""
    try:
        default_registry().choose(WorkspaceWrite(), View())
    except SandboxUnavailable as error:
        return str(error)
    return ""


def write_config(places: Surroundings, model: ModelChoice, *, sandboxed: bool) -> None:
    key = f"env_key = {_toml(model.key_variable)}\n" if model.key_variable else ""
    text = f"""model = {_toml(model.name)}
model_provider = "demo"
approval_policy = "never"
{_SANDBOX if sandboxed else 'sandbox_mode = "danger-full-access"'}
[shell_environment_policy]
exclude = ["*KEY*", "*SECRET*", "*TOKEN*"]

[model_providers.demo]
name = "Demo"
base_url = {_toml(model.url)}
wire_api = {_toml(model.wire_api)}
{key}"""
    (places.home / "config.toml").write_text(text)


def _toml(text: str) -> str:
    """A basic string: that of JSON is one too."""
    return msgspec.json.encode(text).decode()


def make_repository(folder: Path, files: Mapping[str, str]) -> None:
    """A git repository with one commit; without git on the machine, an empty one made by hand."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    if shutil.which("git") is None:
        for part in ("objects", "refs/heads"):
            (folder / ".git" / part).mkdir(parents=True)
        (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (folder / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 0\n")
        return
    # Whatever the user's own configuration says of hooks, signatures and names.
    alone = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Demo", "-c", "user.email=demo@localhost")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "Begin")):
        subprocess.run(["git", *words], cwd=folder, env=alone, check=True, capture_output=True)
