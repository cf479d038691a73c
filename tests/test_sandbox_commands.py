"""`bulkhead sandbox` and `bulkhead doctor`, and a server on a machine without user namespaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from protocol_client import ProtocolClient
from running_server import await_ends

from sandbox_backends import default_registry

if sys.platform != "linux":
    pytest.skip("the Linux backends", allow_module_level=True)

BULKHEAD = (sys.executable, "-P", "-m", "supervisor")
NO_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
)
"""A namespace of one's own in which no further ones can be made: bubblewrap fails there as in many containers."""


def bulkhead(*arguments, marked, before=(), **options):
    return subprocess.run(
        [*before, *BULKHEAD, *arguments],
        env=marked.env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture
def without_namespaces():
    if not default_registry().capability("linux-landlock").ok:
        pytest.skip(default_registry().capability("linux-landlock").reason)
    done = subprocess.run([*NO_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no user namespaces to make the test's own: {done.stderr}")
    return NO_NAMESPACES


@pytest.mark.parametrize("backend", ["linux-bwrap", "linux-landlock"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("sleep 100", 124),
        ("no-such-program", 127),
        ("exec /etc/passwd", 126),
    ],
)
def test_exit_codes(marked, workspace, backend, command, code):
    limit = ("--timeout-ms", "300") if code == 124 else ()
    done = bulkhead(
        *("sandbox", "--backend", backend, "--cwd", workspace, *limit, "--", "sh", "-c", command),
        marked=marked,
    )
    assert done.returncode == code


def test_a_policy_can_be_given_as_its_json_and_a_wrong_one_is_told(marked, workspace):
    policy = json.dumps({"type": "workspaceWrite", "networkAccess": True})
    options = ("sandbox", "--cwd", workspace, "--plan", "--json", "--policy")
    made = json.loads(bulkhead(*options, policy, "--", "ls", marked=marked).stdout)
    assert made["policy"]["networkAccess"] is True
    assert set(made["env"].values()) == {"…"}
    for wrong in ("readwrite", '{"type": "x"}'):
        done = bulkhead(*options, wrong, "--", "ls", marked=marked)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--policy" in done.stderr


def test_the_result_as_json(marked, workspace):
    done = bulkhead(
        *("sandbox", "--cwd", workspace, "--json", "--", "sh", "-c", "echo out; echo err >&2; echo x > new"),
        marked=marked,
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["exitCode"]) == (2, 2)
    assert result["stdout"]["text"] == "out\n"
    assert result["stderr"]["text"].startswith("err\n")
    assert result["denial"]["path"] == str(workspace / "new")


def test_limits_are_in_force_and_in_the_plan(marked, workspace):
    limits = ("--max-file-size", "4096", "--max-cpu", "5", "--max-memory", str(1 << 30))
    run = ("sandbox", "--policy", "workspaceWrite", "--cwd", workspace, *limits)
    done = bulkhead(
        *run, "--", "sh", "-c", "ulimit -t; ulimit -v; head -c 9999 /dev/zero > big", marked=marked
    )
    assert done.stdout.splitlines()[:2] == ["5", str((1 << 30) // 1024)]
    assert done.returncode != 0
    assert (workspace / "big").stat().st_size == 4096
    made = json.loads(bulkhead(*run, "--plan", "--json", "--", "true", marked=marked).stdout)
    assert "memory-limited-per-process" in made["gaps"] or made["cgroup"]


def test_doctor_tells_what_works_and_why_not(marked, without_namespaces):
    done = bulkhead("doctor", "--json", marked=marked, before=without_namespaces)
    assert done.returncode == 0
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert not found["linux-bwrap"]["ok"]
    assert "ENOSPC" in found["linux-bwrap"]["detail"]
    assert found["linux-bwrap"]["remedy"] == "raise the sysctl user.max_user_namespaces"
    assert "protected-names-restored-afterwards" in found["workspaceWrite"]["detail"]
    assert "raise the sysctl" in bulkhead("doctor", marked=marked, before=without_namespaces).stdout


def test_doctor_fails_on_a_broken_rules_file(marked, home):
    (home / "rules").mkdir()
    (home / "rules" / "x.rules").write_text("oops(")
    done = bulkhead("doctor", marked=marked)
    assert done.returncode == 1
    assert f"{home}/rules/x.rules:1" in done.stdout


def test_a_killed_runner_leaves_nothing_of_the_weaker_sandbox(marked, workspace):
    token = f"{os.getpid()}.1"
    script = f"setsid sh -c 'trap \"\" TERM; sleep {token}' & sleep {token} & echo ready; wait"
    command = (
        *BULKHEAD,
        "sandbox",
        "--backend",
        "linux-landlock",
        "--cwd",
        workspace,
        "--",
        "sh",
        "-c",
        script,
    )
    with subprocess.Popen(
        command, env=marked.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as runner:
        assert runner.stdout.readline() == b"ready\n"
        runner.send_signal(signal.SIGKILL)
        # The pipe's other ends are closed when the last process of the command is gone.
        assert runner.stdout.read() == b""
    await_ends(marked.processes())


def test_a_server_without_namespaces_says_that_its_sandbox_is_weaker(marked, workspace, without_namespaces):
    with ProtocolClient(
        [*without_namespaces, *BULKHEAD, "app-server"], cwd=workspace, env=marked.env
    ) as client:
        client.initialize(experimentalApi=True)
        only = {"sandbox_workspace_write": {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True}}
        params = {"sandbox": "workspace-write", "cwd": str(workspace), "config": only}
        thread = client.request("thread/start", params)
        told = client.turn(
            thread["thread"]["id"],
            "!run echo x > ../outside; mkdir .git; echo y > inside\n!run true\n!then\n!say ok",
        )
        lines = [line if isinstance(line, dict) else line.message for line in told]
    warnings = [line["params"]["message"] for line in lines if line["method"] == "warning"]
    assert len([text for text in warnings if "weaker sandbox" in text]) == 1
    assert not (workspace.parent / "outside").exists()
    assert not (workspace / ".git").exists()
    assert (workspace / "inside").read_text() == "y\n"


def test_a_plan_says_what_each_gap_means(marked, workspace):
    run = ("sandbox", "--policy", "workspaceWrite", "--network", "1", "--cwd", workspace, "--plan")
    lines = bulkhead(*run, "--", "true", marked=marked).stdout.splitlines()
    found = [line.split(maxsplit=1)[1] for line in lines if line.startswith("gap ")]
    assert found
    assert all(line.count(": ") == 1 for line in found)


@pytest.mark.parametrize(
    ("option", "value"), [("--policy", "bogus"), ("--policy", '{"type":"x"}'), ("--pin", "a")]
)
def test_a_wrong_option_is_named(marked, option, value):
    done = bulkhead("sandbox", option, value, "--", "true", marked=marked)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sandbox: {option}: ")
