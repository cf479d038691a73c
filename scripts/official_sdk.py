"""Drive our server with the official Python SDK (`openai-codex` from PyPI), unmodified.

    scripts/official_sdk.py [--version 0.163.0] [--keep DIR]

Installs the SDK into an environment of its own (it is no dependency of ours), points it at the `bulkhead` beside this
interpreter, and runs a thread with two turns, one of them with a command, then names, reads, lists and resumes it.
Exits with 1 if anything is not as it should be, with 77 where the SDK cannot be had.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modelserver.embedded import scripted_model  # noqa: E402 - the packages lie beside this folder

VERSION = "0.163.0"
SKIPPED = 77
# The SDK pins a wheel with the Codex binary, which is the very thing that we stand in for.
REQUIREMENTS = ("pydantic>=2.12", "packaging>=26.2")

SESSION = """
import os, sys
from openai_codex import Codex, CodexConfig, Sandbox

binary, home, workspace = sys.argv[1:]
config = CodexConfig(codex_bin=binary, env={**os.environ, "BULKHEAD_HOME": home})
with Codex(config) as codex:
    thread = codex.thread_start(sandbox=Sandbox.workspace_write, cwd=workspace)
    first = thread.run("!run echo from-a-command | tee made.txt\\n!then\\n!say The command ran.")
    assert first.final_response == "The command ran.", first
    kinds = [getattr(item, "root", item).type for item in first.items]
    assert "commandExecution" in kinds, kinds
    second = thread.run("!say And a second turn.")
    assert second.final_response == "And a second turn.", second
    thread.set_name("driven by the SDK")
    assert thread.read().thread.name == "driven by the SDK"
    assert [t.id for t in codex.thread_list().data] == [thread.id]
    assert codex.thread_resume(thread.id).run("!say Still here.").final_response == "Still here."
    assert codex.models().data
print("turns, a command, name, read, list, resume, models: all as expected")
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", default=VERSION, help="of the SDK")
    parser.add_argument("--keep", type=Path, help="folder for the SDK's environment, to be used again")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkhead-sdk-", dir="/var/tmp"))
        )
        python = _environment(options.keep or folder / "venv", options.version)
        if python is None:
            print("skipped: the SDK could not be installed", file=sys.stderr)
            return SKIPPED
        home, workspace = folder / "home", folder / "workspace"
        home.mkdir()
        workspace.mkdir()
        model = stack.enter_context(scripted_model())
        (home / "config.toml").write_text(
            'model = "gpt-5.5"\nmodel_provider = "scripted"\n[model_providers.scripted]\n'
            f'name = "Scripted model"\nbase_url = "{model.url}"\n'
        )
        binary = Path(sys.executable).with_name("bulkhead")
        session = subprocess.run([python, "-c", SESSION, binary, home, workspace], check=False)
        made = workspace / "made.txt"
        if session.returncode == 0 and made.read_text() == "from-a-command\n":
            return 0
        print("the session failed", file=sys.stderr)
        return 1


def _environment(folder: Path, version: str) -> Path | None:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        quiet = {**os.environ, "PIP_NO_WARN_SCRIPT_LOCATION": "1"}
        for arguments in (["--no-deps", f"openai-codex=={version}"], list(REQUIREMENTS)):
            if subprocess.run([*pip, *arguments], check=False, env=quiet).returncode != 0:
                return None
    return python


if __name__ == "__main__":
    sys.exit(main())
