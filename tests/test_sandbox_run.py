"""Running commands without confinement: output, exit codes, input, terminals, time limits, trees."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

import pytest
import uvloop

from protocol.policy import DangerFullAccess
from sandbox_backends import (
    PlanError,
    StdinError,
    TextStream,
    plan,
    run_with_plan,
)
from sandbox_backends.errors import CwdMissingError, EmptyCommandError
from sandbox_backends.family import MARK
from sandbox_backends.tree import children, look

pytestmark = pytest.mark.usefixtures("subreaper")

ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    def go(main):
        if request.param == "uvloop":
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(main)
        return asyncio.run(main)

    go(asyncio.sleep(0))  # a loop's first use may open descriptors that stay
    before = len(os.listdir("/proc/self/fd"))
    kin = set(children(os.getpid()))
    yield go
    assert set(children(os.getpid())) <= kin
    assert len(os.listdir("/proc/self/fd")) == before


def make(argv, cwd, **more):
    return plan(argv, cwd=str(cwd), policy=DangerFullAccess(), env=ENV, **more)


def script(text, cwd, **more):
    return make(["/bin/sh", "-c", text], cwd, **more)


async def finish(made, **more):
    command = await run_with_plan(made, **more)
    return await command.wait()


async def eventually(check):
    """Poll a condition that no event announces; the test's own time limit ends it."""
    if not check():
        await asyncio.sleep(0.005)
        await eventually(check)


def gone(pid, start):
    now = look(pid)
    return now is None or now.start != start or not now.alive


def test_streams_are_merged_in_order_or_kept_apart(run, tmp_path):
    text = "echo one; echo two >&2; echo three; exit 4"
    merged = run(finish(script(text, tmp_path)))
    assert (merged.exit_code, merged.output.text(), merged.stderr) == (4, "one\ntwo\nthree\n", None)
    split = run(finish(script(text, tmp_path, streams="split")))
    assert (split.output.text(), split.stderr.text()) == ("one\nthree\n", "two\n")


def test_chunks_come_as_they_are_written(run, tmp_path):
    async def main():
        seen = asyncio.Event()
        chunks = []

        def on_output(chunk):
            chunks.append(chunk)
            seen.set()

        pids = []
        command = await run_with_plan(
            script("echo first; read line; echo got $line", tmp_path, stdin="pipe"), on_output, pids.append
        )
        await seen.wait()
        assert chunks == [b"first\n"]
        assert pids == [command.pid]
        command.write(b"word\n")
        result = await command.wait()
        assert b"".join(chunks) == b"first\ngot word\n" == result.output.raw()

    run(main())


def test_exit_codes(run, tmp_path):
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "broken").chmod(0o755)

    def code(argv, **more):
        result = run(finish(make(argv, tmp_path, **more)))
        return result.exit_code, result.started

    assert code(["false"]) == (1, True)
    assert code(["/bin/sh", "-c", "kill -KILL $$"]) == (137, True)
    assert code(["no-such-program-here"]) == (127, False)
    assert code(["./plain"]) == (126, False)
    assert code(["."]) == (127, False)
    assert code([str(tmp_path)]) == (126, False)
    assert code(["./broken"]) == (127, False)
    assert code(["true", "x" * 3_000_000]) == (126, False)


def test_a_missing_program_says_so_on_stderr(run, tmp_path):
    result = run(finish(make(["no-such-program-here"], tmp_path, streams="split")))
    assert result.stderr.text() == "no-such-program-here: command not found\n"


def test_the_environment_is_the_plans_and_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OUTER_SECRET", "x")
    result = run(finish(make(["env"], tmp_path)))
    names = {line.split("=")[0] for line in result.output.text().splitlines()}
    assert names == {*ENV, MARK}


def test_a_time_limit_keeps_what_was_said(run, tmp_path):
    result = run(finish(script("echo early; sleep 60", tmp_path, timeout_ms=200)))
    assert (result.exit_code, result.timed_out, result.output.text()) == (124, True, "early\n")


def test_the_loop_runs_while_a_flood_is_read_in_bounded_memory(run, tmp_path):
    size = 300 << 20

    async def main():
        total = 0
        ticks = 0

        def on_output(chunk):
            nonlocal total
            total += len(chunk)

        command = await run_with_plan(make(["head", "-c", str(size), "/dev/zero"], tmp_path), on_output)
        while not await command.wait_for(0):
            ticks += 1
            await asyncio.sleep(0)
        result = await command.wait()
        assert total == result.output.total == size
        assert len(result.output.raw()) == 1 << 20
        assert ticks > 10

    run(main())


def test_head_only_capture(run, tmp_path):
    result = run(finish(script("yes | head -c 100000", tmp_path, output_cap=50, output_keep="head")))
    assert result.output.raw() == b"y\n" * 25
    assert result.output.omitted == 100000 - 50


def test_characters_split_over_chunks_survive(run, tmp_path):
    async def main():
        text = TextStream()
        out = []
        command = await run_with_plan(
            script(r"printf '\303'; read x; printf '\251'", tmp_path, stdin="pipe"),
            lambda chunk: (out.append(text.feed(chunk)), command_ready.set()),
        )
        await command_ready.wait()
        assert out == [""]
        command.write(b"\n")
        await command.wait()
        assert "".join(out) + text.finish() == "é"

    command_ready = asyncio.Event()
    run(main())


def test_stdin_takes_more_than_a_pipe_and_ends(run, tmp_path):
    async def main():
        command = await run_with_plan(make(["wc", "-c"], tmp_path, stdin="pipe"))
        for _ in range(20):
            command.write(b"x" * 500_000)
            await command.eased()
        command.close_stdin()
        command.close_stdin()
        with pytest.raises(StdinError):
            command.write(b"late")
        assert (await command.wait()).output.text().strip() == "10000000"
        with pytest.raises(StdinError):
            command.write(b"later")

    run(main())


def test_stdin_nobody_reads_is_bounded(run, tmp_path):
    async def main():
        command = await run_with_plan(make(["sleep", "60"], tmp_path, stdin="pipe"))
        command.write(b"x" * (16 << 20))
        with pytest.raises(StdinError, match="unread"):
            command.write(b"x" * (1 << 20))
        await command.end(0)

    run(main())


def test_a_command_that_closes_its_stdin_does_not_hurt(run, tmp_path):
    async def main():
        command = await run_with_plan(script("exec <&-; echo shut; sleep 0.05", tmp_path, stdin="pipe"))
        with contextlib.suppress(StdinError):
            while not await command.wait_for(0.002):
                command.write(b"x" * 65536)
        assert (await command.wait()).exit_code == 0

    run(main())


def test_without_stdin_there_is_nothing_to_write_to(run, tmp_path):
    async def main():
        command = await run_with_plan(make(["cat"], tmp_path))
        with pytest.raises(StdinError):
            command.write(b"x")
        with pytest.raises(StdinError):
            command.resize(1, 1)
        assert (await command.wait()).exit_code == 0

    run(main())


def test_a_terminal_has_a_size_job_control_and_an_end_of_file(run, tmp_path):
    async def main():
        said = bytearray()
        ready = asyncio.Event()

        def on_output(chunk):
            said.extend(chunk)
            if b"READY" in said:
                ready.set()

        made = make(
            ["bash", "--norc", "-ic", "stty size; set -m; sleep 0 & wait; echo READY; cat; stty size"],
            tmp_path,
            stdin="pty",
            pty_size=(31, 97),
        )
        command = await run_with_plan(made, on_output)
        await ready.wait()
        command.resize(5, 40)
        command.close_stdin()
        result = await command.wait()
        text = result.output.text()
        assert result.exit_code == 0
        assert "31 97" in text
        assert "5 40" in text
        assert "no job control" not in text

    run(main())


def test_an_interrupt_on_the_terminal_ends_the_foreground_job(run, tmp_path):
    async def main():
        ready = asyncio.Event()
        said = bytearray()

        def on_output(chunk):
            said.extend(chunk)
            if b"READY" in said:
                ready.set()

        command = await run_with_plan(
            make(["sh", "-c", "echo READY; exec sleep 60"], tmp_path, stdin="pty"), on_output
        )
        await ready.wait()
        command.write(b"\x03")
        assert (await command.wait()).exit_code == 130

    run(main())


DAEMON = (
    "import os,sys,time,signal\n"
    "if os.fork(): os.wait(); print('up', flush=True); time.sleep(60)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open('daemon.new', 'w').write(str(os.getpid())); os.rename('daemon.new', 'daemon')\n"
    "time.sleep(60)\n"
)


async def _daemon(tmp_path, **more):
    """A running command, and the process of the daemon that it made by setsid and a double fork."""
    command = await run_with_plan(make([sys.executable, "-c", DAEMON], tmp_path, **more))
    await eventually((tmp_path / "daemon").exists)
    process = look(int((tmp_path / "daemon").read_text()))
    return command, process


@pytest.mark.parametrize("grace_s", [0, 0.05])
def test_end_reaches_what_left_the_session(run, tmp_path, grace_s):
    async def main():
        command, daemon = await _daemon(tmp_path)
        result = await command.end(grace_s)
        assert result.ended
        assert result.exit_code == (143 if grace_s else 137)
        assert gone(daemon.pid, daemon.start)
        assert daemon.pid not in children(os.getpid())

    run(main())


def test_a_time_limit_reaches_what_left_the_session(run, tmp_path):
    async def main():
        command, daemon = await _daemon(tmp_path, timeout_ms=700)
        result = await command.wait()
        assert result.timed_out
        assert gone(daemon.pid, daemon.start)

    run(main())


def test_ending_one_command_leaves_the_others_alone(run, tmp_path):
    async def main():
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        one, daemon_one = await _daemon(tmp_path / "a")
        two, daemon_two = await _daemon(tmp_path / "b")
        await one.end(0)
        assert gone(daemon_one.pid, daemon_one.start)
        assert not gone(daemon_two.pid, daemon_two.start)
        assert not two.done
        await two.end(0)
        assert gone(daemon_two.pid, daemon_two.start)

    run(main())


def test_survivors_of_a_normal_end_are_named_and_ended_on_demand(run, tmp_path):
    async def main():
        command = await run_with_plan(script("setsid sleep 60 >/dev/null 2>&1 & echo $!", tmp_path))
        result = await command.wait()
        pid = int(result.output.text())
        assert result.survivors == (pid,)
        start = look(pid).start
        await command.end(0)
        assert gone(pid, start)
        assert look(pid) is None

    run(main())


def test_survivors_that_end_by_themselves_are_reaped(run, tmp_path):
    async def main():
        text = "(setsid sh -c 'while [ ! -e go ]; do sleep 0.01; done' >/dev/null 2>&1 & echo $!)"
        command = await run_with_plan(script(text, tmp_path))
        pid = int((await command.wait()).output.text())
        (tmp_path / "go").touch()
        await eventually(lambda: look(pid) is None)
        await command.end(0)

    run(main())


def test_a_child_that_keeps_the_pipe_does_not_keep_the_result(run, tmp_path):
    async def main():
        begun = time.monotonic()
        command = await run_with_plan(script("sleep 60 & echo done", tmp_path))
        result = await command.wait()
        assert result.output.text() == "done\n"
        assert time.monotonic() - begun < 30
        await command.end(0)

    run(main())


def test_cancelling_the_wait_ends_the_command(run, tmp_path):
    async def main():
        command, daemon = await _daemon(tmp_path)
        task = asyncio.ensure_future(command.wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert command.done
        assert gone(daemon.pid, daemon.start)
        assert gone(command.pid, -1)

    run(main())


def test_waiting_a_while_touches_nothing(run, tmp_path):
    async def main():
        command = await run_with_plan(make(["sleep", "60"], tmp_path))
        assert not await command.wait_for(0.01)
        task = asyncio.ensure_future(command.wait_for(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert look(command.pid).alive
        assert (await command.end(0)).exit_code == 137

    run(main())


def test_a_loop_that_is_taken_down_takes_its_commands_along(run, tmp_path):
    pids = []

    async def main():
        command = await run_with_plan(make(["sleep", "60"], tmp_path))
        pids.append(command.pid)

    run(main())
    assert look(pids[0]) is None


def test_a_stopped_command_can_be_ended_gently(run, tmp_path):
    async def main():
        ready = asyncio.Event()
        command = await run_with_plan(
            script("trap 'echo bye; exit 7' TERM; echo up; while :; do :; done", tmp_path),
            lambda _: ready.set(),
        )
        await ready.wait()
        os.kill(command.pid, signal.SIGSTOP)
        result = await command.end(10)
        assert result.exit_code == 7
        assert result.output.text() == "up\nbye\n"

    run(main())


def test_many_at_once(run, tmp_path):
    async def main():
        results = await asyncio.gather(*(finish(script(f"echo {n}", tmp_path)) for n in range(20)))
        assert [int(result.output.text()) for result in results] == list(range(20))

    run(main())


@pytest.mark.parametrize(
    ("argv", "more", "error"),
    [
        ([], {}, EmptyCommandError),
        ([""], {}, EmptyCommandError),
        (["a\0b"], {}, EmptyCommandError),
        (["ls"], {"timeout_ms": -1}, PlanError),
        (["ls"], {"stdin": "pty", "pty_size": (0, 80)}, PlanError),
    ],
)
def test_bad_requests_are_refused(tmp_path, argv, more, error):
    with pytest.raises(error):
        make(argv, tmp_path, **more)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(CwdMissingError):
        make(["ls"], tmp_path / "none")
    with pytest.raises(PlanError):
        make(["ls"], "relative")
