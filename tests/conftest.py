"""The whole server for tests: a scripted model, a home, a workspace, and a factory of servers that leaves nothing behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from issuer_server import Issuer, Supplier, issuer_home, running_issuer
from running_server import ROOT, Marked, RunningServer, runtime_folder, write_config

from modelserver.embedded import ModelServer, scripted_model
from sandbox_backends import become_subreaper

# A suite that was started in the background has SIGINT ignored, and so would have all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def binary() -> str:
    """Codex 0.169; tests that compare with it are skipped where it is not to be had."""
    get = SHARED / "peer" / "get"
    if not get.exists():
        pytest.skip("Codex 0.169 is not here to compare with")
    found = subprocess.run([get], capture_output=True, text=True, timeout=60, check=False)
    if found.returncode or not Path(found.stdout.strip()).exists():
        pytest.skip("Codex 0.169 could not be had")
    return found.stdout.strip()


@pytest.fixture(scope="session")
def subreaper() -> None:
    """Commands that are run in this process leave their orphans to it, as to a worker."""
    become_subreaper()


@pytest.fixture(scope="session")
def scripted() -> Iterator[ModelServer]:
    """One for the session: a start costs half a second."""
    with scripted_model() as server:
        yield server


@pytest.fixture
def model(scripted: ModelServer) -> ModelServer:
    """The scripted model, with no requests in its log."""
    scripted.clear()
    return scripted


@pytest.fixture
def home(tmp_path: Path, model: ModelServer) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    write_config(path, model.url)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
def marked(home: Path) -> Iterator[Marked]:
    """The environment of this test's servers and whatever else it starts."""
    with runtime_folder() as runtime:
        environment = Marked(home, runtime)
        try:
            yield environment
        finally:
            environment.end()


@pytest.fixture
def server(marked: Marked, workspace: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers: `server("-c", "bulkhead.restart_limit=2")`. Each has shaken hands with its client.

    At the end they are closed, and no process of theirs may be left.
    """
    with contextlib.ExitStack() as servers:

        def start(*arguments: str, initialize: bool = True, **options: Any) -> RunningServer:
            running = servers.enter_context(
                RunningServer(*arguments, marked=marked, cwd=workspace, **options)
            )
            if initialize:
                running.initialize(experimentalApi=True)
            return running

        yield start
    left = marked.end()
    assert not left, f"{len(left)} processes were left"


@pytest.fixture
def bulkhead(marked: Marked) -> Callable[..., tuple[int, str, str]]:
    """Runs `bulkhead ...` to its end: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments],
            cwd=ROOT,
            env=marked.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


# --- accounts: one issuer and one server for the tests of a file ---------------------------------------------------


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture
def issuer(shared_issuer: Issuer) -> Issuer:
    """The issuer as it was at first; what was said to it before is forgotten."""
    shared_issuer.reset()
    return shared_issuer


@pytest.fixture
def account_home(home: Path, issuer: Issuer, marked: Marked) -> Path:
    """A home whose provider wants a login of the issuer's, for what the test starts itself."""
    issuer_home(issuer, home, marked)
    return home


@pytest.fixture(scope="module")
def shared(
    shared_issuer: Issuer, scripted: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, Path]]:
    """The same for a module, and a server there."""
    home = tmp_path_factory.mktemp("home")
    write_config(home, scripted.url)
    with runtime_folder() as runtime:
        marked = Marked(home, runtime)
        issuer_home(shared_issuer, home, marked)
        try:
            with RunningServer(marked=marked, cwd=home, handler=Supplier()) as running:
                running.initialize(experimentalApi=True)
                yield running, home
        finally:
            assert not marked.end(), "processes were left"


@pytest.fixture
def shared_home(shared: tuple[RunningServer, Path]) -> Path:
    return shared[1]


@pytest.fixture
def running(shared: tuple[RunningServer, Path], issuer: Issuer, model: ModelServer) -> RunningServer:
    """The shared server, logged out; `since` is where its lines of this test begin."""
    server, _ = shared
    server.request("account/logout")
    server.since = server.mark()
    issuer.reset()
    return server
