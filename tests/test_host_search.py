"""`fuzzyFileSearch`: files by some letters of their path."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from protocol_client import RpcError

LONG_AGO = 1_000_000_000
MANY = 300


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")


def settle(root: Path) -> None:
    """Folders that did not change lately: whether a listing is still true can be told then."""
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(folder, (LONG_AGO, LONG_AGO))


def search(client, query: str, *roots: Path, **params):
    given = {"query": query, "roots": [str(root) for root in roots], **params}
    return client.request("fuzzyFileSearch", given)["files"]


def paths(found) -> list[str]:
    return [result["path"] for result in found]


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    make(
        root,
        "server.py",
        "sub/main_server.py",
        "sub/deep/MainServer.py",
        "sub/mainframe/list.txt",
        "sub/école/été.txt",
        ".hidden/server.rs",
        "server.log",
        "sub/kept_server.log",
        "secret/server.txt",
        "other/server.tmp",
    )
    (root / ".gitignore").write_text("*.log\n")
    (root / "sub" / ".gitignore").write_text("!kept_*\n")
    (root / ".ignore").write_text("*.tmp\n")
    (root / ".git" / "info" / "exclude").write_text("secret/\n")
    (root / "way").symlink_to("sub/deep")
    settle(root)
    return root


def test_searches(server, tree, tmp_path):
    client = server()
    found = search(client, "server", tree)
    # Names that begin with it, other names; hidden ones and links count, what is ignored does not.
    assert sorted(paths(found[:2])) == [".hidden/server.rs", "server.py"]
    assert sorted(paths(found)) == [
        ".hidden/server.rs",
        "server.py",
        "sub/deep/MainServer.py",
        "sub/kept_server.log",
        "sub/main_server.py",
        "way/MainServer.py",
    ]
    assert [result["score"] for result in found] == sorted((r["score"] for r in found), reverse=True)
    assert next(result for result in found if result["path"] == "sub/main_server.py") == {
        "root": str(tree),
        "path": "sub/main_server.py",
        "match_type": "file",
        "file_name": "main_server.py",
        "score": found[paths(found).index("sub/main_server.py")]["score"],
        "indices": [9, 10, 11, 12, 13, 14],
    }
    # What has exactly that name is first, then names, then paths.
    assert paths(search(client, "SERVER.PY", tree))[0] == "server.py"
    [folder, *rest] = search(client, "mainframe", tree)
    assert (folder["path"], folder["match_type"]) == ("sub/mainframe", "directory")
    assert paths(rest) == ["sub/mainframe/list.txt"]
    # Places are counted in characters.
    [accents] = search(client, "txt école", tree)
    assert accents["indices"] == [*range(4, 9), 14, 15, 16]
    # Words, as fzf has them.
    assert paths(search(client, "^sub !deep server py$", tree)) == ["sub/main_server.py"]
    # Roots.
    assert search(client, "", tree) == []
    assert search(client, "server") == []
    assert search(client, "server", tree / "none", tree / "server.py", Path("relative")) == []
    both = search(client, "main_", tree / "sub", tree)
    assert {(result["root"], result["path"]) for result in both} == {
        (str(tree / "sub"), "main_server.py"),
        (str(tree), "sub/main_server.py"),
    }
    make(tmp_path / "many", *(f"{n}/file{n}" for n in range(MANY)))
    assert len(search(client, "file", tmp_path / "many")) == 50


def test_a_search_sees_what_has_changed_since_the_last(server, tree):
    client = server()
    empty = tree / "sub" / "empty"
    empty.mkdir()
    settle(tree)

    def ask() -> list[str]:
        # Twice, so that the second may use what the first has listed.
        first = paths(search(client, "news", tree))
        assert paths(search(client, "news", tree)) == first
        return first

    assert ask() == []
    (empty / "news").write_text("")
    assert ask() == ["sub/empty/news"]
    settle(tree)
    assert ask() == ["sub/empty/news"]
    with (tree / ".gitignore").open("a") as file:
        file.write("news\n")
    assert ask() == []
    (tree / ".gitignore").write_text("")
    settle(tree)
    assert ask() == ["sub/empty/news"]
    (empty / "news").rename(empty / "olds")
    assert ask() == []


def test_sessions(server, tree):
    client = server()
    start = {"sessionId": "s", "roots": [str(tree)]}
    assert client.request("fuzzyFileSearch/sessionStart", start) == {}

    def ask(query: str) -> list[str]:
        since = client.mark()
        assert client.request("fuzzyFileSearch/sessionUpdate", {"sessionId": "s", "query": query}) == {}
        told = client.wait_for(
            lambda message: (
                message.get("method") == "fuzzyFileSearch/sessionUpdated"
                and message["params"]["query"] == query
            ),
            since=since,
        )
        assert client.wait_for("fuzzyFileSearch/sessionCompleted", since=told.index).params == {
            "sessionId": "s"
        }
        return paths(told.params["files"])

    assert ask("main_") == ["sub/main_server.py"]
    assert ask("main_s") == ["sub/main_server.py"]
    assert ask("") == []
    client.request("fuzzyFileSearch/sessionStop", {"sessionId": "s"})
    assert client.request("fuzzyFileSearch/sessionStop", {"sessionId": "s"}) == {}
    for method, params, text in (
        ("Update", {"sessionId": "s", "query": ""}, "fuzzy file search session not found: s"),
        ("Start", {"sessionId": "", "roots": [str(tree)]}, "sessionId must not be empty"),
        ("Start", {"sessionId": "s", "roots": []}, "at least one search directory is required"),
    ):
        with pytest.raises(RpcError, match=text):
            client.request(f"fuzzyFileSearch/session{method}", params)


def test_a_later_search_ends_an_earlier_one_of_the_same_token(server, tmp_path):
    client = server()
    for folder in range(10):
        make(tmp_path / "many", *(f"{folder}/file{n}" for n in range(100)))
    given = {"query": "file", "roots": [str(tmp_path / "many")] * 3, "cancellationToken": "t"}
    earlier = client.start_request("fuzzyFileSearch", given)
    later = client.start_request("fuzzyFileSearch", given)
    assert len(client.result(later)["files"]) == 50
    assert client.result(earlier)["files"] == []
