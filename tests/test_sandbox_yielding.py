"""Commands that take most of the machine give way, and floods are read no faster than is good for others."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from protocol.policy import DangerFullAccess
from sandbox_backends import plan, run_with_plan, streams, yielding
from sandbox_backends.scheduling import be_prompt

pytestmark = pytest.mark.usefixtures("subreaper")

ENV = {"PATH": os.environ["PATH"]}
OWN = Path("/proc/self/autogroup")


def script(text, cwd):
    return plan(["/bin/sh", "-c", text], cwd=str(cwd), policy=DangerFullAccess(), env=ENV)


async def niceness_comes_to(pid, wanted):
    while int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1]) != wanted:  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(0.01)


@pytest.mark.skipif(not OWN.exists(), reason="a kernel without automatic groups")
def test_a_session_that_takes_much_is_put_behind_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(yielding, "FIRST_LOOK_S", 0.15)
    monkeypatch.setattr(yielding, "LOOK_S", 0.15)
    monkeypatch.setattr(yielding, "SHARE", 0.001)

    async def main():
        command = await run_with_plan(script("trap 'exec sleep 60' USR1; while :; do :; done", tmp_path))
        await niceness_comes_to(command.pid, 19)
        os.kill(command.pid, 10)
        await niceness_comes_to(command.pid, 0)
        return await command.end(0)

    assert asyncio.run(asyncio.wait_for(main(), 60)).ended


@pytest.mark.skipif(not OWN.exists(), reason="a kernel without automatic groups")
def test_what_takes_little_stays_where_it_is(tmp_path, monkeypatch):
    looked = asyncio.Event()
    monkeypatch.setattr(yielding, "FIRST_LOOK_S", 0.0)

    class Watched(yielding.Yielding):
        def _look(self):
            super()._look()
            looked.set()

    monkeypatch.setattr("sandbox_backends.command.Yielding", Watched)

    async def main():
        command = await run_with_plan(script("exec sleep 60", tmp_path))
        await looked.wait()
        niceness = Path(f"/proc/{command.pid}/autogroup").read_text().split()[-1]
        await command.end(0)
        return niceness

    assert asyncio.run(main()) == "0"


def test_a_flood_waits_and_comes_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "READS_PER_WAKE", 1)
    monkeypatch.setattr(streams, "BURST", streams.CHUNK)
    monkeypatch.setattr(streams, "RATE", 400_000)
    waits = []

    class Watched(streams.Reader):
        def _go_on(self):
            waits.append(1)
            super()._go_on()

    monkeypatch.setattr("sandbox_backends.command.Reader", Watched)

    async def main():
        command = await run_with_plan(script("head -c 200000 /dev/zero", tmp_path))
        return await command.wait()

    result = asyncio.run(main())
    assert (result.exit_code, result.output.total) == (0, 200_000)
    assert waits


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has slices")
def test_short_slices_stay_with_who_asked():
    def slices():
        text = Path("/proc/self/sched").read_text()
        return [line.split()[-1] for line in text.splitlines() if line.startswith("se.slice")]

    if not Path("/proc/self/sched").exists() or not slices():
        pytest.skip("this kernel does not tell its slices")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        be_prompt()
        mine = slices()
        grandchild = os.fork()
        if grandchild == 0:
            os.write(
                write, f"{slices() != mine} {os.getpriority(os.PRIO_PROCESS, 0) == nice} {mine}".encode()
            )
        else:
            os.waitpid(grandchild, 0)
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 1000).decode()
    os.close(read)
    assert said in ("True True ['100000']", f"False True {slices()}")
