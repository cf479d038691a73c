from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.items import AgentMessageItem, UserMessageItem
from protocol.policy import ReadOnly
from protocol.turns import TurnError
from protocol.user_input import TextInput
from rollouts import entries, writer
from rollouts.errors import ForeignWrite, RolloutDamaged, RolloutNotFound, ThreadArchived, WriterBusy
from rollouts.failure import append_turn_failure
from rollouts.ids import new_id
from rollouts.layout import Home
from rollouts.lines import decode_line
from rollouts.lock import WriterLock
from rollouts.reader import read_history
from rollouts.tail import lines_backwards, mend
from rollouts.writer import RolloutWriter

FIXTURES = Path(__file__).parent / "fixtures" / "rollouts"
LEGACY = "01a20422-0000-7000-8000-000000000001"
NOW = 1795364117.836
ERROR = TurnError(message="the worker died", codex_error_info="other")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def new_writer(home):
    meta = entries.new_meta(
        new_id(),
        created_at=NOW,
        cwd="/w",
        roots=["/w"],
        originator="o",
        cli_version="1",
        model_provider="p",
        model="m",
        base_instructions="Be good.",
    )
    with RolloutWriter.create(home, meta, created_at=NOW) as made:
        yield made


def question(turn_id, text="hello"):
    return entries.item_completed(turn_id, UserMessageItem(id=new_id(), content=[TextInput(text=text)]))


def answer(turn_id, text="hi"):
    return entries.item_completed(turn_id, AgentMessageItem(id=new_id(), text=text))


def start(turn_id):
    return entries.task_started(turn_id, started_at=int(NOW))


def done(turn_id):
    return entries.task_complete(turn_id, completed_at=int(NOW) + 1)


def put(home, fixture, thread_id):
    path = home.new_path(thread_id, NOW)
    path.parent.mkdir(parents=True)
    shutil.copyfile(FIXTURES / fixture, path)
    return path


def ordinals(path):
    return [decode_line(raw).ordinal for raw in path.read_bytes().splitlines()]


def test_the_file_comes_with_the_first_lines(new_writer, home):
    assert not new_writer.stored
    assert not home.sessions.exists()
    new_writer.append([])
    assert not home.sessions.exists()
    new_writer.append([start("t"), question("t")])
    new_writer.sync()
    assert new_writer.stored
    assert ordinals(new_writer.path) == [0, 1, 2]
    assert new_writer.path.name.endswith(f"{new_writer.thread_id}.jsonl")
    assert read_history(new_writer.path).preview == "hello"


def test_a_batch_is_one_write(new_writer, monkeypatch):
    writes = []
    real = os.write
    monkeypatch.setattr(writer.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    new_writer.append([start("t"), question("t"), answer("t"), done("t")])
    assert writes == [new_writer.path.stat().st_size]


def test_a_resumed_thread_goes_on_at_its_end(new_writer, home):
    new_writer.append([start("t1"), question("t1"), done("t1")])
    new_writer.close()
    with RolloutWriter.resume(home, new_writer.thread_id.upper()) as again:
        assert again.next_ordinal == 4
        again.append([start("t2"), question("t2"), answer("t2")])
        again.append(
            entries.turn_settings(
                again.thread_id,
                "t2",
                cwd="/w",
                roots=["/w"],
                model="m",
                model_provider="p",
                approval_policy="never",
                sandbox=ReadOnly(),
            )
        )
    assert ordinals(new_writer.path) == list(range(9))
    history = read_history(new_writer.path)
    assert [turn.status for turn in history.turns] == ["completed", "interrupted"]
    assert history.context.sandbox_policy == {"type": "read-only"}
    assert history.gaps == 0


def test_a_legacy_thread_goes_on_in_its_form(home):
    path = put(home, "legacy.jsonl", LEGACY)
    before = path.read_bytes()
    with RolloutWriter.resume(home, LEGACY) as legacy:
        assert not legacy.paginated
        legacy.append([start("t"), question("t", "third"), answer("t", "yes"), done("t")])
    assert path.read_bytes().startswith(before)
    assert set(ordinals(path)) == {None}
    last = read_history(path).turns[-1]
    assert (last.id, last.status, [item.id for item in last.items]) == (
        "t",
        "completed",
        ["item-5", "item-6"],
    )


@pytest.mark.parametrize("torn", [b'{"timestamp":"2026', b'{"type":"event_msg","payl', b"\x00" * 70000])
def test_a_torn_end_is_cut_off(home, torn):
    path = put(home, "paginated.jsonl", LEGACY)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with RolloutWriter.resume(home, LEGACY) as mended:
        assert path.read_bytes() == whole
        mended.append([start("t")])
    assert ordinals(path) == list(range(25))


def test_a_whole_last_line_only_lacks_its_newline(home):
    path = put(home, "paginated.jsonl", LEGACY)
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip(b"\n"))
    with RolloutWriter.resume(home, LEGACY):
        assert path.read_bytes() == whole


def test_a_paginated_file_without_ordinals_is_refused(home):
    path = home.new_path(LEGACY, NOW)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"type":"session_meta","payload":{"id":"x","history_mode":"paginated"}}\n')
    with pytest.raises(RolloutDamaged, match="no ordinals"):
        RolloutWriter.resume(home, LEGACY)
    WriterLock(home, LEGACY).release()  # the failed attempt left no lock behind


def test_a_full_disk_leaves_no_half_line(new_writer, monkeypatch):
    new_writer.append([start("t")])
    before = new_writer.path.read_bytes()
    real = os.write
    calls = []

    def write(fd, data):
        calls.append(data)
        if len(calls) == 1:
            return real(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        new_writer.append([question("t")])
    assert new_writer.path.read_bytes() == before
    monkeypatch.setattr(writer.os, "write", real)
    new_writer.append([question("t")])
    assert ordinals(new_writer.path) == [0, 1, 2]


def test_a_foreign_write_is_noticed(new_writer):
    new_writer.append([start("t")])
    with open(new_writer.path, "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(ForeignWrite):
        new_writer.append([question("t")])


def test_one_writer_at_a_time_and_the_holder_is_named(new_writer, home):
    new_writer.append([start("t")])
    with pytest.raises(WriterBusy) as caught:
        RolloutWriter.resume(home, new_writer.thread_id)
    assert str(caught.value) == f"thread {new_writer.thread_id} already has an active writer"
    assert caught.value.holder == os.getpid()
    new_writer.close()
    assert not (home.locks / f"{new_writer.thread_id}.lock").exists()
    RolloutWriter.resume(home, new_writer.thread_id).close()


def test_the_lock_of_a_killed_process_is_free(home, tmp_path):
    code = (
        "import sys; from rollouts.layout import Home; from rollouts.lock import WriterLock\n"
        "lock = WriterLock(Home(sys.argv[1]), sys.argv[2]); print('held', flush=True); sys.stdin.read()"
    )
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), LEGACY],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(WriterBusy) as caught:
            WriterLock(home, LEGACY)
        assert caught.value.holder == process.pid
        process.kill()
        process.wait()
        WriterLock(home, LEGACY).release()


def test_what_cannot_be_resumed(home):
    with pytest.raises(RolloutNotFound, match=f"^no rollout found for thread id {LEGACY}$"):
        RolloutWriter.resume(home, LEGACY)
    home.archived.mkdir()
    shutil.copyfile(FIXTURES / "legacy.jsonl", home.archived / home.new_path(LEGACY, NOW).name)
    with pytest.raises(ThreadArchived) as caught:
        RolloutWriter.resume(home, LEGACY)
    assert str(caught.value) == (
        f"session {LEGACY} is archived. Run `codex unarchive {LEGACY}` to unarchive it first."
    )


# --- a worker's death ---------------------------------------------------------------------------


def test_the_turn_in_flight_is_failed(new_writer):
    new_writer.append([start("t1"), question("t1"), done("t1"), start("t2"), question("t2")])
    new_writer.close()
    with open(new_writer.path, "ab") as file:
        file.write(b'{"timestamp":"20')
    assert append_turn_failure(new_writer.path, "t2", ERROR, NOW + 5)
    history = read_history(new_writer.path)
    assert (history.torn, history.junk, history.gaps, history.open_turn_id) == (False, 0, 0, None)
    turn = history.turns[-1]
    assert (turn.id, turn.status, turn.error) == ("t2", "failed", ERROR)
    assert (turn.started_at, turn.completed_at, turn.duration_ms) == (int(NOW), int(NOW) + 5, 5000)


def test_a_turn_that_had_ended_stays_as_it_was(new_writer):
    new_writer.append([start("t"), question("t"), done("t")])
    new_writer.close()
    before = new_writer.path.read_bytes()
    assert not append_turn_failure(new_writer.path, "t", ERROR)
    assert new_writer.path.read_bytes() == before


def test_a_turn_that_had_no_line_yet_is_seen_to_fail(new_writer):
    new_writer.append([start("t1"), done("t1")])
    new_writer.close()
    assert append_turn_failure(new_writer.path, "t2", ERROR)
    assert [(turn.id, turn.status) for turn in read_history(new_writer.path).turns] == [
        ("t1", "completed"),
        ("t2", "failed"),
    ]


def test_a_failure_is_not_written_beside_a_living_writer_or_without_a_file(new_writer):
    assert not append_turn_failure(new_writer.path, "t", ERROR)
    new_writer.append([start("t")])
    with pytest.raises(WriterBusy):
        append_turn_failure(new_writer.path, "t", ERROR)


def test_a_file_that_was_never_begun_is_as_none(home, new_writer):
    new_writer.append([start("t")])
    new_writer.close()
    first = new_writer.path.read_bytes().partition(b"\n")[0]
    for torn in (b"", first[:100]):
        new_writer.path.write_bytes(torn)
        assert not append_turn_failure(new_writer.path, "t", ERROR)
        with pytest.raises(RolloutNotFound):
            RolloutWriter.resume(home, new_writer.thread_id)
        assert not new_writer.path.exists()
    new_writer.path.write_bytes(first)
    RolloutWriter.resume(home, new_writer.thread_id).close()


def test_a_legacy_turn_fails_too(home):
    path = put(home, "legacy.jsonl", LEGACY)
    assert append_turn_failure(path, "t", ERROR)
    assert read_history(path).turns[-1].error == ERROR


# --- the end of a file ----------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b""))), st.integers(1, 30), st.booleans()
)
def test_lines_backwards_are_the_lines_reversed(tmp_path_factory, lines, chunk, ended):
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"\n".join(lines) + b"\n" * ended)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert list(lines_backwards(fd, chunk=chunk)) == [line for line in reversed(lines) if line]
    finally:
        os.close(fd)


@given(st.binary(max_size=200))
def test_a_mended_file_ends_with_a_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "torn"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    try:
        size = mend(fd)
    finally:
        os.close(fd)
    mended = path.read_bytes()
    assert len(mended) == size
    assert mended == b"" or mended.endswith(b"\n")
    assert data.startswith(mended.rstrip(b"\n"))


def test_a_payload_that_is_no_json_writes_nothing(new_writer):
    new_writer.append([start("t")])
    before = new_writer.path.read_bytes()
    with pytest.raises(TypeError):
        new_writer.append([entries.response_item({"x": object()})])
    assert new_writer.path.read_bytes() == before
    assert msgspec.json.decode(before.splitlines()[0])["type"] == "session_meta"
