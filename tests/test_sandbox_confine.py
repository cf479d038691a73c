"""What the bubblewrap backend confines, seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocol.policy import DangerFullAccess, ExternalSandbox, ReadOnly, WorkspaceWrite
from sandbox_backends import (
    Registry,
    SandboxUnavailable,
    audit,
    default_registry,
    launching,
    pin,
    plan,
    run_with_plan,
)
from sandbox_backends.bwrap import Bwrap
from sandbox_backends.errors import ProtectedSymlinkError, RootInvalidError, RootReplacedError
from sandbox_backends.own import Own, belongings
from sandbox_backends.tree import children, look, reap_strays
from sandbox_backends.view import verify

ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
NO_TMP = {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True}

capability = default_registry().capability("linux-bwrap") if sys.platform == "linux" else None
pytestmark = [
    pytest.mark.usefixtures("subreaper"),
    pytest.mark.skipif(
        capability is None or not capability.ok, reason=f"no sandbox here: {capability and capability.reason}"
    ),
]


@pytest.fixture
def workspace(tmp_path):
    """A workspace, a file outside, and no descriptor and no child, not even a zombie, more after than before."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("original")
    before = len(os.listdir("/proc/self/fd"))
    kin = set(children(os.getpid()))
    yield tmp_path / "ws"
    assert set(children(os.getpid())) <= kin
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "outside" / "file").read_text() == "original"
    assert not any(
        (tmp_path / "ws" / name).is_dir() and not os.listdir(tmp_path / "ws" / name)
        for name in (".codex", ".agents")
    )


def workspace_write(**more):
    return WorkspaceWrite(**{**NO_TMP, **more})


def script(text, cwd, policy=None, **more):
    return plan(["/bin/sh", "-c", text], cwd=str(cwd), policy=policy or workspace_write(), env=ENV, **more)


def run(made, registry=None):
    async def main():
        command = await run_with_plan(made, registry=registry)
        return await command.wait()

    return asyncio.run(main())


def test_writes_stay_in_the_workspace(workspace):
    result = run(script("echo hi > in && echo no > ../outside/file", workspace))
    assert result.exit_code != 0
    assert (workspace / "in").read_text() == "hi\n"
    assert (result.denial.kind, result.denial.confidence) == ("fs", "high")
    assert result.denial.path == str(workspace.parent / "outside" / "file")


def test_read_only_writes_nothing(workspace):
    result = run(script("echo hi > in", workspace, ReadOnly()))
    assert result.exit_code != 0
    assert not (workspace / "in").exists()
    assert result.denial.path == str(workspace / "in")


def test_a_command_elsewhere_does_not_make_that_writable(workspace):
    outside = workspace.parent / "outside"
    result = run(script("echo no > file", outside, workspace=str(workspace)))
    assert result.denial.path == str(outside / "file")


@pytest.mark.parametrize("name", [".git", ".codex", ".agents"])
def test_protected_names_can_be_neither_made_changed_nor_moved(workspace, name):
    missing = run(script(f"mkdir -p {name}/hooks || echo refused", workspace))
    assert "refused" in missing.output.text()
    assert not (workspace / name).exists()
    (workspace / name).mkdir()
    (workspace / name / "config").write_text("mine")
    result = run(
        script(f"echo x > {name}/config; rm -rf {name}; mv {name} away; touch {name}/new; true", workspace)
    )
    assert result.exit_code == 0
    assert (workspace / name / "config").read_text() == "mine"
    assert os.listdir(workspace / name) == ["config"]


def test_a_protected_file_stays(workspace):
    (workspace / ".codex").write_text("mine")
    run(script("echo x > .codex; rm -f .codex; mv .codex away; true", workspace))
    assert (workspace / ".codex").read_text() == "mine"


def test_an_explicit_root_beats_the_protection(workspace):
    (workspace / ".git").mkdir()
    policy = workspace_write(writable_roots=(str(workspace / ".git"),))
    assert run(script("echo x > .git/index.lock", workspace, policy)).exit_code == 0
    assert (workspace / ".git" / "index.lock").exists()


def test_a_symlinked_protected_name_is_refused(workspace):
    (workspace / "real").mkdir()
    (workspace / ".git").symlink_to("real")
    with pytest.raises(ProtectedSymlinkError):
        script("true", workspace)


def test_the_git_directory_of_a_worktree_cannot_be_moved_from_under_its_name(workspace):
    (workspace / "deep" / "gd" / "hooks").mkdir(parents=True)
    (workspace / ".git").write_text("gitdir: deep/gd\n")
    attack = "mv deep deep2; mkdir -p deep/gd/hooks; echo evil > deep/gd/hooks/pre-commit; true"
    run(script(attack, workspace))
    assert os.listdir(workspace / "deep" / "gd" / "hooks") == []


def test_a_worktree_pointer_through_a_symlink_is_refused(workspace):
    (workspace / "deep" / "gd").mkdir(parents=True)
    (workspace / "link").symlink_to("deep")
    (workspace / ".git").write_text("gitdir: link/gd\n")
    with pytest.raises(ProtectedSymlinkError) as caught:
        script("true", workspace)
    assert caught.value.link == str(workspace / "link")


def test_the_parent_of_a_nested_root_cannot_be_swapped(tmp_path):
    nested = tmp_path / "a" / "b"
    nested.mkdir(parents=True)
    policy = workspace_write(writable_roots=(str(nested),))
    result = run(script(f"mv {tmp_path}/a {tmp_path}/c || echo busy", tmp_path, policy))
    assert result.output.text().endswith("busy\n")


def test_a_replaced_workspace_is_refused_at_planning_and_at_the_start(workspace):
    policy = workspace_write()
    pins = pin(policy, str(workspace), ENV)
    made = script("true", workspace, policy, pins=pins)
    workspace.rename(workspace.with_name("moved"))
    workspace.mkdir()
    with pytest.raises(RootReplacedError):
        script("true", workspace, policy, pins=pins)
    with pytest.raises(RootReplacedError):
        run(made)
    workspace.rmdir()
    workspace.symlink_to(workspace.parent / "outside")
    with pytest.raises(RootReplacedError):
        run(made)
    workspace.unlink()
    workspace.mkdir()


@pytest.mark.parametrize("root", ["relative", "/", "/no/such/directory", "/etc/passwd"])
def test_bad_roots_are_named(workspace, root):
    with pytest.raises(RootInvalidError, match=root):
        script("true", workspace, workspace_write(writable_roots=(root,)))


def test_the_home_directory_is_no_accidental_workspace(workspace):
    env = {**ENV, "HOME": str(workspace / "home")}
    (workspace / "home").mkdir()
    with pytest.raises(RootInvalidError, match="home"):
        plan(["true"], cwd=str(workspace), policy=workspace_write(), env=env)
    policy = workspace_write(writable_roots=(str(workspace),))
    assert plan(["true"], cwd=str(workspace), policy=policy, env=env).view.roots


def test_the_network_is_cut_but_loopback_inside_works(workspace):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = (
            "import asyncio,socket,sys\n"
            f"try: socket.create_connection(('127.0.0.1', {port}), 2); sys.exit('connected')\n"
            "except ConnectionRefusedError: pass\n"
            "try: socket.socket(socket.AF_UNIX); sys.exit('unix')\n"
            "except PermissionError: pass\n"
            "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); s.accept()\n"
            "asyncio.run(asyncio.to_thread(print, 'fine'))\n"
        )
        made = plan([sys.executable, "-c", text], cwd=str(workspace), policy=workspace_write(), env=ENV)
        assert made.env["CODEX_SANDBOX_NETWORK_DISABLED"] == "1"
        result = run(made)
        assert (result.exit_code, result.output.text()) == (0, "fine\n")
        granted = plan(
            [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"],
            cwd=str(workspace),
            policy=workspace_write(network_access=True),
            env=ENV,
        )
        assert "CODEX_SANDBOX_NETWORK_DISABLED" not in granted.env
        assert run(granted).exit_code == 0


def test_no_capabilities_no_privileges_no_foreign_processes(workspace):
    result = run(
        script(
            "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; ls -d /proc/[0-9]* | wc -l",
            workspace,
        )
    )
    fields = result.output.text().split()
    assert fields[fields.index("CapEff:") + 1] == "0" * 16
    assert fields[fields.index("NoNewPrivs:") + 1] == "1"
    assert fields[fields.index("Seccomp:") + 1] == "2"
    assert int(fields[-1]) < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only uid 0 could write these")
def test_root_cannot_write_kernel_settings(workspace):
    result = run(script("cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern", workspace))
    assert result.exit_code != 0
    assert "Read-only" in result.output.text()


def test_masked_files_cannot_be_read(workspace):
    secret = workspace.parent / "auth.json"
    secret.write_text("TOKEN")
    folder = workspace / "private"
    folder.mkdir()
    (folder / "key").write_text("TOKEN")
    result = run(
        script(
            f"cat {secret} private/key; ls private; mv private gone; true",
            workspace,
            own=Own(masked=(str(secret), str(folder))),
        )
    )
    assert "TOKEN" not in result.output.text()
    assert (folder / "key").exists()


def test_the_same_codes_as_without_a_sandbox(workspace):
    assert run(script("exit 9", workspace)).exit_code == 9
    assert run(script("kill -TERM $$", workspace)).exit_code == 143
    missing = run(plan(["no-such-program-here"], cwd=str(workspace), policy=ReadOnly(), env=ENV))
    assert (missing.exit_code, missing.started, missing.setup_failed) == (127, False, None)
    (workspace / "broken").write_text("#!/no/such/interpreter\n")
    (workspace / "broken").chmod(0o755)
    broken = run(plan(["./broken"], cwd=str(workspace), policy=ReadOnly(), env=ENV))
    assert (broken.exit_code, broken.started, broken.setup_failed) == (127, False, None)
    late = run(script("echo early; sleep 60", workspace, timeout_ms=300))
    assert (late.exit_code, late.timed_out, late.output.text()) == (124, True, "early\n")


def test_a_sandbox_that_cannot_be_set_up_is_no_command_failure(workspace):
    (workspace / "sub").mkdir()
    made = script("true", workspace / "sub", ReadOnly())
    (workspace / "sub").rmdir()
    result = run(made)
    assert (result.exit_code, result.started, result.denial) == (125, False, None)
    assert "sub" in result.setup_failed.reason


def test_term_reaches_the_command_not_its_sheath(workspace):
    async def main():
        ready = asyncio.Event()
        command = await run_with_plan(
            script("trap 'echo bye; exit 7' TERM; echo up; while :; do :; done", workspace),
            lambda _: ready.set(),
        )
        await ready.wait()
        result = await command.end(10)
        assert (result.exit_code, result.output.text(), result.ended) == (7, "up\nbye\n", True)

    asyncio.run(main())


def test_nothing_outlives_the_end(workspace):
    async def main():
        ready = asyncio.Event()
        text = "trap '' TERM HUP; setsid sleep 3600 & setsid setsid sleep 3600 & echo up; wait"
        command = await run_with_plan(script(text, workspace), lambda _: ready.set())
        await ready.wait()
        members = command._family.alive()
        assert len(members) >= 4
        result = await command.end(0.05)
        assert result.exit_code == 137
        assert result.setup_failed is None
        assert all(look(process.pid) is None for process in members)

    asyncio.run(main())


def test_background_children_die_with_the_command(workspace):
    result = run(script("sleep 3600 & echo done", workspace))
    assert (result.output.text(), result.survivors) == ("done\n", ())


def test_a_terminal_inside_has_job_control(workspace):
    async def main():
        said = bytearray()
        came = asyncio.Event()

        def on_output(chunk):
            said.extend(chunk)
            came.set()

        async def until(text):
            while text not in said:
                came.clear()
                await came.wait()

        made = plan(
            ["bash", "--norc", "-i"],
            cwd=str(workspace),
            policy=workspace_write(),
            env={**ENV, "TERM": "dumb"},
            stdin="pty",
            pty_size=(33, 99),
        )
        command = await run_with_plan(made, on_output)
        command.write(b"stty size; sh -c 'echo REA''DY; exec sleep 60'\n")
        await until(b"READY")
        command.write(b"\x03")
        await until(b"^C")
        command.write(b"echo code=$?; exit 4\n")
        result = await command.wait()
        text = result.output.text()
        assert "33 99" in text
        assert "code=130" in text
        assert "no job control" not in text
        assert result.exit_code == 4

    asyncio.run(main())


def test_concurrent_commands_keep_each_others_protection(workspace):
    async def main():
        ready = asyncio.Event()
        long = await run_with_plan(
            script(
                "echo up; while [ ! -e go ]; do sleep 0.01; done; mkdir .codex/x || echo still", workspace
            ),
            lambda _: ready.set(),
        )
        await ready.wait()
        for _ in range(3):
            short = await run_with_plan(script("true", workspace))
            assert (await short.wait()).exit_code == 0
        assert (workspace / ".codex").is_dir()
        (workspace / "go").touch()
        result = await long.wait()
        assert result.output.text().endswith("still\n")
        assert not (workspace / ".codex").exists()

    asyncio.run(main())


def test_ghosts_of_a_killed_worker_are_cleared_by_the_next_command(workspace):
    code = (
        "import asyncio,os,sys\n"
        "from protocol.policy import WorkspaceWrite\n"
        "from sandbox_backends import plan, run_with_plan\n"
        "async def main():\n"
        "    made = plan(['sh','-c','echo up; sleep 60'], cwd=sys.argv[1], env=dict(os.environ),"
        " policy=WorkspaceWrite(exclude_slash_tmp=True, exclude_tmpdir_env_var=True))\n"
        "    up = asyncio.Event()\n"
        "    c = await run_with_plan(made, lambda chunk: up.set())\n"
        "    await up.wait()\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).resolve().parents[1]
    kin = set(children(os.getpid()))
    subprocess.run(
        [sys.executable, "-c", code, str(workspace)],
        env={**ENV, "PYTHONPATH": str(root)},
        cwd=root,
        check=False,
    )
    while set(children(os.getpid())) - kin:  # its sandbox dies after it, and has become ours
        reap_strays(kin)
        time.sleep(0.001)
    assert (workspace / ".codex").is_dir()
    assert run(script("ls .codex", workspace)).exit_code == 0
    assert not (workspace / ".codex").exists()


def test_an_empty_directory_of_the_users_own_stays(workspace):
    (workspace / ".codex").mkdir()
    run(script("true", workspace))
    assert (workspace / ".codex").is_dir()
    (workspace / ".codex" / "keep").touch()


def test_plans_are_plain_data_and_audits_hide_values(workspace):
    made = plan(["true"], cwd=str(workspace), policy=workspace_write(), env={**ENV, "API_KEY": "hunter2"})
    line = json.loads(audit(made))
    assert line["backend"] == "linux-bwrap"
    assert line["backend_reason"]
    assert line["view"]["roots"][0]["path"] == str(workspace)
    assert "API_KEY" in line["env"]
    assert "hunter2" not in audit(made).decode()


def test_policies_choose_their_backend(workspace):
    def backend(policy, **more):
        made = script("true", workspace, policy, **more)
        return made.backend

    assert backend(ReadOnly()) == backend(workspace_write()) == "linux-bwrap"
    assert backend(DangerFullAccess()) == backend(ExternalSandbox()) == "direct"
    assert backend(ReadOnly(), sandboxed=False) == "direct"


def test_without_a_backend_nothing_runs(workspace):
    for registry in (Registry(), Registry((Bwrap("/no/such/bwrap"),))):
        with pytest.raises(SandboxUnavailable) as caught:
            script("true", workspace, ReadOnly(), registry=registry)
        assert caught.value.reason
        assert script("true", workspace, DangerFullAccess(), registry=registry).backend == "direct"
        with pytest.raises(SandboxUnavailable):
            asyncio.run(
                run_with_plan(msgspec_replace(script("true", workspace), backend="gone"), registry=registry)
            )


def msgspec_replace(made, **changes):
    import msgspec  # noqa: PLC0415 - used here only

    return msgspec.structs.replace(made, **changes)


def test_a_bubblewrap_in_the_workspace_is_kept_from_commands(workspace):
    folder = workspace / "venv" / "bin"
    folder.mkdir(parents=True)
    mine = folder / "bwrap"
    text = f'#!/bin/sh\nexec {capability.path} "$@"\n'
    mine.write_text(text)
    mine.chmod(0o755)
    registry = Registry((Bwrap(str(mine)),))
    for attempt in ("echo evil > bwrap", "rm bwrap", "mv bwrap b", "mv ../bin ../b", "mv ../../venv ../../v"):
        result = run(script(f"cd venv/bin && {attempt}", workspace, registry=registry), registry)
        assert result.exit_code not in (0, 125), attempt
        assert mine.read_text() == text
    result = run(script("cd venv/bin && echo fine > mine", workspace, registry=registry), registry)
    assert result.exit_code == 0
    deeper = workspace_write(writable_roots=(str(folder),))
    assert run(script("echo evil > venv/bin/bwrap", workspace, deeper, registry=registry), registry).exit_code
    assert mine.read_text() == text


def test_what_belongs_to_the_server_is_kept_from_commands(workspace):
    home, runtime = workspace / "deep" / "home", workspace / "run"
    (home / "rules").mkdir(parents=True)
    (home / "auth.json").write_text("TOKEN")
    runtime.mkdir()
    (runtime / "control.sock").write_text("")
    own = belongings(str(home), str(runtime))
    for attempt in (
        "echo evil > deep/home/rules/default.rules",
        "mv deep gone",
        "mv deep/home deep/gone",
        "cat deep/home/auth.json | grep TOKEN",
        "ls run/control.sock",
        "mv run gone",
        "chmod 755 run; ls run/control.sock",
        "rm -rf run",
    ):
        assert run(script(attempt, workspace, own=own)).exit_code != 0, attempt
    assert (runtime / "control.sock").exists()
    assert os.listdir(home / "rules") == []
    assert run(script("ls deep/home/rules && echo fine > deep/mine", workspace, own=own)).exit_code == 0
    online = ReadOnly(network_access=True)
    assert run(script("ls run/control.sock", workspace, online, own=own)).exit_code != 0


def test_probing_happens_once(workspace):
    class Counting(Bwrap):
        probes = 0

        def probe(self):
            self.probes += 1
            return super().probe()

    backend = Counting()
    registry = Registry((backend,))
    assert backend.probes == 0
    for _ in range(3):
        script("true", workspace, registry=registry)
    assert backend.probes == 1


def test_the_command_line(workspace):
    root = Path(__file__).resolve().parents[1]

    def sandbox(*argv, data=b""):
        return subprocess.run(
            [sys.executable, "-m", "supervisor", "sandbox", "--cwd", str(workspace), *argv],
            input=data,
            capture_output=True,
            cwd=root,
            env=ENV,
            check=False,
        )

    done = sandbox(
        "--policy",
        "workspaceWrite",
        "--",
        "sh",
        "-c",
        "cat > copy; echo out; echo err >&2; exit 5",
        data=b"x" * 200_000,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"out\n", b"err\n")
    assert (workspace / "copy").stat().st_size == 200_000
    assert sandbox("--", "touch", "new").returncode == 1
    assert json.loads(sandbox("--plan", "--json", "--", "ls").stdout)["backend"] == "linux-bwrap"
    refused = sandbox("--policy", "workspaceWrite", "--pin", "1:1", "--", "true")
    assert refused.returncode == 125
    assert b"replaced" in refused.stderr


def test_bubblewrap_itself_loads_nothing_that_commands_could_have_written(workspace):
    env = {**ENV, "LD_LIBRARY_PATH": str(workspace), "LD_BIND_NOW": "1"}
    made = plan(
        ["/bin/sh", "-c", 'tr "\\0" "\\n" < /proc/1/environ; echo "command $LD_LIBRARY_PATH $LD_BIND_NOW"'],
        cwd=str(workspace),
        policy=workspace_write(),
        env=env,
    )
    *of_bubblewrap, of_command = run(made).output.text().splitlines()
    assert of_command == f"command {workspace} 1"
    assert of_bubblewrap
    assert not [line for line in of_bubblewrap if line.startswith("LD_")]


@pytest.mark.parametrize("below", ["", "deep/down"])
def test_a_root_swapped_at_the_last_moment_is_not_followed(workspace, monkeypatch, below):
    outside = workspace.parent / "outside"
    (outside / "down").mkdir()
    (workspace / "deep" / "down").mkdir(parents=True)
    deeper = workspace_write(writable_roots=(str(workspace / below),) if below else ())
    made = script(
        f"cd {workspace / below} && echo evil > file; echo evil > {outside}/made", workspace, deeper
    )
    looks = []

    def look_and_swap(view):
        verify(view)
        looks.append(view)
        if len(looks) == 2:
            swapped = workspace / "deep" if below else workspace
            swapped.rename(swapped.with_name("away"))
            swapped.symlink_to(os.path.relpath(outside, swapped.parent))

    monkeypatch.setattr(launching, "verify", look_and_swap)
    run(made)
    assert len(looks) == 2
    assert (outside / "file").read_text() == "original"
    assert sorted(os.listdir(outside)) == ["down", "file"]
    assert os.listdir(outside / "down") == []
