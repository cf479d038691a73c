from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest

from protocol.thread_list import ThreadListParams
from protocol.threads import IdleStatus, NotLoadedStatus
from rollouts.catalog import Catalog
from rollouts.cursor import Cursor, parse_cursor
from rollouts.errors import InvalidListParams, InvalidName, InvalidThreadId, RolloutNotFound, WriterBusy
from rollouts.layout import Home, parse_name
from rollouts.lock import WriterLock

FIXTURES = Path(__file__).parent / "fixtures" / "rollouts"
EPOCH = datetime(2026, 11, 22, 16, 0, 0)  # noqa: DTZ001 (file names are local time)
PAGINATED = "01a20422-0000-7000-8000-000000000002"


@pytest.fixture
def catalog(tmp_path):
    made = Catalog(tmp_path)
    yield made
    made.close()


def thread_id(number):
    return f"00000000-0000-4000-8000-{number:012x}"


def store(catalog, number, *, text="question", archived=False, revert=None, at=None, **meta):
    """A legacy rollout, `number` seconds (or `at`) after the epoch of this test."""
    stamp = EPOCH + timedelta(seconds=number if at is None else at)
    name = f"rollout-{stamp:%Y-%m-%dT%H-%M-%S}-{thread_id(number)}{'_' + revert if revert else ''}.jsonl"
    path = catalog.home.archived / name if archived else catalog.home.active_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {
        "id": thread_id(number),
        "cwd": "/w",
        "cli_version": "1",
        "source": "vscode",
        "model_provider": "p",
    }
    lines = [{"type": "session_meta", "payload": {**fields, **meta}}]
    if text:
        lines.append({"type": "event_msg", "payload": {"type": "user_message", "message": text}})
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    os.utime(path, (stamp.timestamp(), stamp.timestamp()))
    return path


def listed(catalog, **params):
    answer = catalog.list(ThreadListParams(**params))
    return [int(thread.id[-12:], 16) for thread in answer.data]


def test_a_listed_thread_has_all_the_peer_tells(catalog):
    path = catalog.home.active_path(f"rollout-2026-11-22T16-15-17-{PAGINATED}.jsonl")
    path.parent.mkdir(parents=True)
    shutil.copyfile(FIXTURES / "paginated.jsonl", path)
    catalog.set_name(PAGINATED, "a name")
    answer = catalog.list(ThreadListParams(), {PAGINATED: IdleStatus()})
    (thread,) = answer.data
    assert thread == catalog.read(PAGINATED, loaded={PAGINATED: IdleStatus()})
    assert (thread.preview, thread.name, thread.model, thread.reasoning_effort) == (
        "run it",
        "a name",
        "gpt-5.5",
        "high",
    )
    assert (thread.history_mode, thread.model_provider, thread.cwd) == (
        "paginated",
        "mock",
        "/home/user/project",
    )
    assert (thread.git_info.sha, thread.git_info.branch, thread.source) == ("abc", "main", "vscode")
    assert thread.recency_at == 1795364130
    assert thread.path == str(path)
    assert thread.environments[0].cwd == "/home/user/project"
    assert thread.turns == []
    assert answer.next_cursor is None
    assert len(catalog.read(PAGINATED, include_turns=True).turns) == 3
    assert catalog.read(PAGINATED).status == NotLoadedStatus()


def test_newest_first_and_pages_that_join(catalog):
    for number in range(7):
        store(catalog, number, at=number // 2)  # pairs of the same second
    for direction, expected in (("desc", [6, 5, 4, 3, 2, 1, 0]), ("asc", [0, 1, 2, 3, 4, 5, 6])):
        seen, cursor = [], None
        while True:
            answer = catalog.list(ThreadListParams(limit=2, cursor=cursor, sort_direction=direction))
            seen += [int(thread.id[-12:], 16) for thread in answer.data]
            cursor = answer.next_cursor
            if cursor is None:
                break
        assert seen == expected


def test_the_backwards_cursor_turns_round_at_the_page(catalog):
    for number in range(5):
        store(catalog, number)
    page = catalog.list(ThreadListParams(limit=2, cursor=catalog.list(ThreadListParams(limit=2)).next_cursor))
    assert [int(thread.id[-1]) for thread in page.data] == [2, 1]
    assert listed(catalog, cursor=page.backwards_cursor, sort_direction="asc") == [2, 3, 4]


def test_sorting_by_update(catalog):
    old = store(catalog, 1)
    store(catalog, 2)
    assert listed(catalog, sort_key="updated_at") == [2, 1]
    os.utime(old)
    assert listed(catalog, sort_key="updated_at") == [1, 2]
    assert listed(catalog, sort_key="recency_at") == [1, 2]
    assert listed(catalog, sort_key="created_at") == [2, 1]


def test_limits(catalog):
    for number in range(120):
        store(catalog, number)
    assert [len(listed(catalog, limit=limit)) for limit in (0, 1, None, 5000)] == [1, 1, 25, 100]


def test_a_list_from_the_index_alone_is_up_to_date(catalog):
    assert listed(catalog, use_state_db_only=True) == []
    store(catalog, 1)
    assert listed(catalog, use_state_db_only=True) == [1]


def test_filters(catalog):
    store(catalog, 1, cwd="/a", model_provider="x")
    store(catalog, 2, cwd="/b", text="needle in here")
    store(catalog, 3, source="exec")
    store(catalog, 4, source={"subagent": "review"})
    store(catalog, 5, source={"subagent": {"thread_spawn": {"depth": 1}}})
    store(catalog, 6, source="cli")
    store(catalog, 7, text="")
    store(catalog, 8, archived=True)
    assert listed(catalog) == [6, 2, 1]
    assert listed(catalog, source_kinds=[]) == [6, 2, 1]
    assert listed(catalog, source_kinds=["exec", "cli"]) == [6, 3]
    assert listed(catalog, source_kinds=["subAgent"]) == [5, 4]
    assert listed(catalog, source_kinds=["subAgentReview"]) == [4]
    assert listed(catalog, cwd="/a/") == [1]
    assert listed(catalog, cwd=["/a", "/b"]) == [2, 1]
    assert listed(catalog, cwd=[]) == []
    assert listed(catalog, model_providers=["x"]) == [1]
    assert listed(catalog, model_providers=[]) == [6, 2, 1]
    assert listed(catalog, search_term="needle") == [2]
    assert listed(catalog, search_term="NEEDLE") == []
    assert listed(catalog, excluded_thread_ids=[thread_id(2).upper()]) == [6, 1]
    assert listed(catalog, archived=True) == [8]
    assert listed(catalog, section_id="s") == []


def test_names_are_searched_and_the_last_one_counts(catalog):
    store(catalog, 1)
    catalog.set_name(thread_id(1), "first")
    assert listed(catalog, search_term="first") == [1]
    catalog.set_name(thread_id(1), " second ")
    catalog.names.refresh()
    assert catalog.names.get(thread_id(1)) == "second"  # read before the index sees it
    assert listed(catalog, search_term="first") == []
    assert listed(catalog, search_term="second") == [1]
    with open(catalog.home.names, "ab") as file:
        file.write(b'junk\n{"id":"x"}\n{"id":"' + thread_id(1).encode() + b'","thread_name":"to')
    catalog.set_name(thread_id(1), "third")
    assert listed(catalog, search_term="third") == [1]
    with closing(Catalog(catalog.home.root)) as fresh:
        fresh.names.refresh()
        assert fresh.names.get(thread_id(1)) == "third"
        assert listed(fresh, search_term="third") == [1]


def test_what_cannot_be_named(catalog):
    store(catalog, 1)
    with pytest.raises(InvalidName, match=r"^thread name must not be empty$"):
        catalog.set_name(thread_id(1), "  ")
    with pytest.raises(RolloutNotFound, match=f"^no rollout found for thread id {thread_id(2)}$"):
        catalog.set_name(thread_id(2), "x")
    catalog.set_name(thread_id(2), "x", stored=False)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"cursor": "bogus"}, "invalid cursor: bogus"),
        ({"cursor": ""}, "invalid cursor: "),
        ({"cursor": "2026-11-22"}, "invalid cursor: 2026-11-22"),
        ({"cursor": "2026-11-22T16:17:58Z|nope"}, "invalid cursor: 2026-11-22T16:17:58Z|nope"),
        ({"cursor": "2026-99-22T16:17:58Z"}, "invalid cursor: 2026-99-22T16:17:58Z"),
        ({"sort_key": "section_position"}, "section-position sorting requires a section filter"),
        ({"originators": ["x"]}, "originator filtering is not supported by the local app-server"),
        (
            {"excluded_thread_ids": ["bad"]},
            "invalid excluded thread id: invalid length: expected length 32 for simple format, found 3",
        ),
    ],
)
def test_refused_params_are_told_as_the_peer_does(catalog, params, message):
    with pytest.raises(InvalidListParams) as caught:
        catalog.list(ThreadListParams(**params))
    assert str(caught.value) == message


def test_cursor_forms():
    ms = 1795364278000
    assert parse_cursor("2026-11-22T16:17:58Z") == Cursor(ms)
    assert parse_cursor("2026-11-22T17:17:58+01:00") == Cursor(ms)
    assert parse_cursor("2026-11-22T16:17:58.205Z") == Cursor(ms + 205)
    assert parse_cursor(f"2026-11-22T16:17:58.52Z|{PAGINATED}") == Cursor(ms + 520, PAGINATED)
    assert parse_cursor(f"2026-11-22T16-17-58|{PAGINATED}") == Cursor(ms, PAGINATED)


# --- the index ----------------------------------------------------------------------------------


def test_ten_thousand_threads_are_opened_once(catalog):
    for number in range(10_000):
        store(catalog, number)
    assert len(listed(catalog)) == 25
    assert catalog.index.opened == 10_000
    assert listed(catalog, limit=1) == [9999]
    assert catalog.index.opened == 10_000
    store(catalog, 3, text="changed to something else")
    store(catalog, 10_000)
    assert listed(catalog, search_term="something else") == [3]
    assert catalog.index.opened == 10_002
    with closing(Catalog(catalog.home.root)) as again:
        assert listed(again, limit=1) == [10_000]
        assert again.index.opened == 0


def test_files_that_are_gone_or_moved_are_gone_or_moved_in_the_list(catalog):
    path = store(catalog, 1)
    store(catalog, 2)
    assert listed(catalog) == [2, 1]
    path.unlink()
    assert listed(catalog) == [2]
    catalog.archive(thread_id(2))
    assert (listed(catalog), listed(catalog, archived=True)) == ([], [2])


@pytest.mark.parametrize("damage", [b"no database at all, but quite long" * 200, b"", b"\x00" * 8192])
def test_a_damaged_index_is_built_anew(catalog, damage):
    store(catalog, 1)
    assert listed(catalog) == [1]
    catalog.close()
    catalog.home.index.write_bytes(damage)
    assert listed(catalog) == [1]
    assert catalog.index.opened == 2


def test_an_index_damaged_in_the_middle_is_built_anew(catalog):
    for number in range(300):
        store(catalog, number)
    listed(catalog)
    catalog.close()
    data = bytearray(catalog.home.index.read_bytes())
    data[8192:-4096] = b"\xff" * len(data[8192:-4096])
    catalog.home.index.write_bytes(data)
    assert len(listed(catalog, limit=100)) == 100


def test_an_index_of_another_version_is_built_anew(catalog):
    store(catalog, 1)
    listed(catalog)
    catalog.index._connect().execute("PRAGMA user_version = 99")
    catalog.close()
    assert listed(catalog) == [1]
    assert catalog.index.opened == 2


def test_the_revert_of_a_thread_is_its_present(catalog):
    store(catalog, 1, text="old")
    revert = store(catalog, 1, text="new", revert=thread_id(0xFF))
    (thread,) = catalog.list(ThreadListParams()).data
    assert (thread.path, thread.preview) == (str(revert), "old")  # it is the thread that began so
    assert catalog.read(thread_id(1)).path == str(revert)
    revert.unlink()
    assert [thread.preview for thread in catalog.list(ThreadListParams()).data] == ["old"]


def test_a_fork_shows_the_first_message_of_its_origin(catalog):
    store(catalog, 1, text="origin")
    base = {"thread_id": thread_id(1), "end_ordinal_exclusive": 2}
    store(catalog, 2, text="later", history_base=base, forked_from_id=thread_id(1), history_mode="paginated")
    forked = catalog.list(ThreadListParams()).data[0]
    # As the peer: the list does not tell what a thread was forked from, the thread itself does.
    assert (forked.preview, forked.forked_from_id) == ("origin", None)
    assert catalog.read(thread_id(2)).forked_from_id == thread_id(1)


def test_strange_files_are_not_listed(catalog):
    path = store(catalog, 1)
    path.write_bytes(b"junk\n" * 100)
    (path.parent / "rollout-notes.jsonl").write_bytes(b"{}\n")
    (catalog.home.sessions / "stray.jsonl").write_bytes(b"{}\n")
    assert listed(catalog) == []


# --- the archive --------------------------------------------------------------------------------


def test_archive_and_back(catalog):
    path = store(catalog, 1)
    catalog.archive(thread_id(1).upper())
    assert not path.exists()
    assert catalog.read(thread_id(1)).path == str(catalog.home.archived / path.name)
    with pytest.raises(RolloutNotFound, match=f"^no rollout found for thread id {thread_id(1)}$"):
        catalog.archive(thread_id(1))
    before = path.parent.stat().st_mtime
    thread = catalog.unarchive(thread_id(1))
    assert thread.path == str(path)
    assert thread.updated_at >= int(before)
    with pytest.raises(RolloutNotFound, match=f"^no archived rollout found for thread id {thread_id(1)}$"):
        catalog.unarchive(thread_id(1))


def test_all_files_of_a_thread_move_together(catalog):
    store(catalog, 1)
    revert = store(catalog, 1, revert=thread_id(0xFF))
    catalog.archive(thread_id(1))
    assert len(list(catalog.home.archived.iterdir())) == 2
    assert catalog.unarchive(thread_id(1)).path == str(revert)


def test_a_thread_with_a_writer_is_not_moved(catalog):
    store(catalog, 1)
    lock = WriterLock(catalog.home, thread_id(1))
    with pytest.raises(WriterBusy):
        catalog.archive(thread_id(1))
    lock.release()
    catalog.archive(thread_id(1))


@pytest.mark.parametrize("archived", [False, True])
def test_a_thread_that_is_moved_while_it_is_read_is_read_all_the_same(catalog, monkeypatch, archived):
    store(catalog, 1, archived=archived)
    look, seen = catalog.home.segments, []

    def looked(identity, *, archived=False):
        found = look(identity, archived=archived)
        seen.append(archived)
        if len(seen) == 1:
            move()
        return found

    move = partial(catalog.unarchive if archived else catalog.archive, thread_id(1))
    monkeypatch.setattr(Home, "segments", lambda _, identity, **where: looked(identity, **where))
    assert catalog.read(thread_id(1), include_turns=True).id == thread_id(1)


def test_ids_that_are_none_or_unknown(catalog):
    with pytest.raises(RolloutNotFound, match=f"^thread not loaded: {thread_id(1)}$"):
        catalog.read(thread_id(1))
    for call in (catalog.read, catalog.archive, catalog.unarchive):
        with pytest.raises(InvalidThreadId):
            call("nope")


def test_file_names():
    name = parse_name(f"rollout-2026-11-22T16-41-17-{PAGINATED}.jsonl")
    assert (name.thread_id, name.revert_id, name.segment_id) == (PAGINATED, None, PAGINATED)
    revert = parse_name(f"rollout-2026-11-22T16-41-17-{PAGINATED}_{thread_id(7)}.jsonl")
    assert (revert.thread_id, revert.segment_id) == (PAGINATED, thread_id(7))
    assert revert.rank > name.rank
    assert parse_name(f"rollout-2026-11-22T16-41-17-{PAGINATED}.jsonl.tmp") is None
    assert parse_name(f"rollout-2026-99-99T16-41-17-{PAGINATED}.jsonl").created_at == 0
    path = Home("/h").new_path(PAGINATED, name.created_at)
    assert str(path) == f"/h/sessions/2026/11/22/rollout-2026-11-22T16-41-17-{PAGINATED}.jsonl"
