"""`fs/*`, `gitDiffToRemote`: files of the machine, without a thread."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from protocol_client import RpcError

TEN_MB = 10_000_000
NO_SUCH_FILE = (-32603, "No such file or directory (os error 2)")
RELATIVE = (-32600, "Invalid request: AbsolutePathBuf deserialized without a base path")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read(client, path: Path | str) -> bytes:
    return base64.b64decode(client.request("fs/readFile", {"path": str(path)})["dataBase64"])


def refusal(client, method: str, **params: object) -> tuple[int, str]:
    with pytest.raises(RpcError) as refused:
        client.request(method, params)
    return refused.value.code, refused.value.message


def test_files_and_directories(server, workspace):
    client = server()
    path = workspace / "file"
    for data in (b"", b"\0\xff", os.urandom(TEN_MB)):
        assert client.request("fs/writeFile", {"path": str(path), "dataBase64": encoded(data)}) == {}
        assert path.read_bytes() == data
        assert read(client, path) == data
    assert read(client, "/proc/self/comm") == b"bulkhead host\n"  # a file that says it is empty
    (workspace / "link").symlink_to("file")
    (workspace / "nowhere").symlink_to("none")
    found = client.request("fs/getMetadata", {"path": str(workspace / "link")})
    assert found == {
        "isDirectory": False,
        "isFile": True,
        "isSymlink": True,
        "createdAtMs": 0,
        "modifiedAtMs": path.stat().st_mtime_ns // 1_000_000,
    }
    assert client.request("fs/createDirectory", {"path": str(workspace / "a" / "b")}) == {}
    entries = client.request("fs/readDirectory", {"path": str(workspace)})["entries"]
    assert sorted((entry["fileName"], entry["isDirectory"], entry["isFile"]) for entry in entries) == [
        ("a", True, False),
        ("file", False, True),
        ("link", False, True),
    ]


def test_requests_for_one_path_keep_their_order(server, workspace):
    client = server()
    folder = {"path": str(workspace / "folder")}
    path = {"path": str(workspace / "folder" / "file")}
    asked = []
    for number in range(20):
        data = {"dataBase64": encoded(bytes([number]) * 200_000)}
        requests = [
            ("fs/createDirectory", folder),
            ("fs/writeFile", {**path, **data}),
            ("fs/readFile", path),
            ("fs/remove", folder),
        ]
        asked.append((data, [client.start_request(*request) for request in requests]))
    for data, (made, written, found, removed) in asked:
        assert client.result(made) == client.result(written) == client.result(removed) == {}
        assert client.result(found) == data


def test_copying_and_removing(server, workspace):
    client = server()
    source, target = workspace / "source", workspace / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "script").write_text("true")
    (source / "sub" / "script").chmod(0o755)
    (source / "link").symlink_to("sub/script")
    os.mkfifo(source / "pipe")
    both = {"sourcePath": str(source), "destinationPath": str(target)}
    text = "fs/copy requires recursive: true when sourcePath is a directory"
    assert refusal(client, "fs/copy", **both) == (-32600, text)
    text = "fs/copy cannot copy a directory to itself or one of its descendants"
    inside = {**both, "destinationPath": str(source / "sub" / "below"), "recursive": True}
    assert refusal(client, "fs/copy", **inside) == (-32600, text)
    client.request("fs/copy", {**both, "recursive": True})
    assert sorted(path.name for path in target.rglob("*")) == ["link", "script", "sub"]
    assert (target / "link").readlink() == Path("sub/script")
    assert os.access(target / "sub" / "script", os.X_OK)
    client.request("fs/copy", {"sourcePath": str(source / "link"), "destinationPath": str(target / "again")})
    assert (target / "again").is_symlink()
    here = {"path": str(target)}
    assert refusal(client, "fs/remove", **here, recursive=False) == (
        -32603,
        "Directory not empty (os error 39)",
    )
    assert client.request("fs/remove", here) == {}
    assert client.request("fs/remove", here) == {}
    assert refusal(client, "fs/remove", **here, force=False) == NO_SUCH_FILE
    client.request("fs/remove", {"path": str(source / "link")})
    assert (source / "sub" / "script").exists()


def test_what_is_no_file_is_refused_and_holds_up_nobody(server, workspace):
    client = server()
    pipe, huge = workspace / "pipe", workspace / "huge"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    empty = encoded(b"")
    said = {
        "a pipe": refusal(client, "fs/readFile", path=str(pipe)),
        "a device": refusal(client, "fs/readFile", path="/dev/zero"),
        "a directory": refusal(client, "fs/readFile", path=str(workspace)),
        "writing a pipe": refusal(client, "fs/writeFile", path=str(pipe), dataBase64=empty),
        "writing a directory": refusal(client, "fs/writeFile", path=str(workspace), dataBase64=empty),
        "copying a pipe": refusal(
            client, "fs/copy", sourcePath=str(pipe), destinationPath=str(workspace / "x")
        ),
        "a terabyte": refusal(client, "fs/readFile", path=str(huge)),
        "nothing": refusal(client, "fs/readFile", path="/none"),
        "a link to nothing": refusal(client, "fs/getMetadata", path="/none"),
        "a file as a directory": refusal(client, "fs/readDirectory", path=str(huge)),
        "a relative path": refusal(client, "fs/readFile", path="rel"),
        "a NUL": refusal(client, "fs/remove", path="/a\0b"),
        "no base64": refusal(client, "fs/writeFile", path=str(huge), dataBase64="YWJj!"),
        "cut base64": refusal(client, "fs/writeFile", path=str(huge), dataBase64="YWJ"),
    }
    base64_refused = "fs/writeFile requires valid base64 dataBase64: "
    assert said == {
        "a pipe": (-32600, f"path `{pipe}` is not a file"),
        "a device": (-32600, "path `/dev/zero` is not a file"),
        "a directory": (-32600, f"path `{workspace}` is not a file"),
        "writing a pipe": (-32600, f"path `{pipe}` is not a file"),
        "writing a directory": (-32603, "Is a directory (os error 21)"),
        "copying a pipe": (-32600, "fs/copy only supports regular files, directories, and symlinks"),
        "a terabyte": (-32600, "file is too large to read: limit is 67108864 bytes"),
        "nothing": NO_SUCH_FILE,
        "a link to nothing": NO_SUCH_FILE,
        "a file as a directory": (-32603, "Not a directory (os error 20)"),
        "a relative path": RELATIVE,
        "a NUL": (-32600, "file name contained an unexpected NUL byte"),
        "no base64": (-32600, base64_refused + "Invalid symbol 33, offset 4."),
        "cut base64": (-32600, base64_refused + "Invalid padding"),
    }


def changes(client, watch: str, since: int) -> set[str]:
    return {
        path
        for line in client.received("fs/changed", since=since)
        if line.params["watchId"] == watch
        for path in line.params["changedPaths"]
    }


def await_change(client, watch: str, path: Path, since: int) -> None:
    client.wait_for(
        lambda _: str(path) in changes(client, watch, since), what=f"{path} in {watch}", since=since
    )


def test_watches(server, workspace):
    client = server()
    folder, later = workspace / "folder", workspace / "later" / "below" / "file"
    (folder / "sub").mkdir(parents=True)
    (workspace / "way").symlink_to("folder")
    watched = {"folder": workspace / "way", "file": folder / "file", "later": later}
    told = {
        name: client.request("fs/watch", {"path": str(path), "watchId": name})["path"]
        for name, path in watched.items()
    }
    assert told == {"folder": str(folder), "file": str(folder / "file"), "later": str(later)}
    assert refusal(client, "fs/watch", path="/tmp", watchId="file") == (
        -32600,
        "watchId already exists: file",
    )
    since = client.mark()
    (folder / "sub" / "deep").write_text("too deep")
    (folder / "other").write_text("x")
    (folder / "file").write_text("x")
    await_change(client, "folder", folder / "file", since)
    await_change(client, "file", folder / "file", since)
    assert changes(client, "folder", since) == {str(folder / "file"), str(folder / "other")}
    assert changes(client, "file", since) == {str(folder / "file")}
    # What is not there yet, nor its folder.
    later.parent.mkdir(parents=True)
    later.write_text("x")
    await_change(client, "later", later, since)
    # A folder that goes and comes again is still watched.
    since = client.mark()
    (folder / "sub" / "deep").unlink()
    (folder / "sub").rmdir()
    (folder / "other").unlink()
    (folder / "file").unlink()
    folder.rmdir()
    await_change(client, "folder", folder, since)
    since = client.mark()
    folder.mkdir()
    await_change(client, "folder", folder, since)
    since = client.mark()
    (folder / "new").write_text("x")
    await_change(client, "folder", folder / "new", since)
    # Nothing after the end.
    assert client.request("fs/unwatch", {"watchId": "folder"}) == {}
    assert client.request("fs/unwatch", {"watchId": "folder"}) == {}
    since = client.mark()
    (folder / "file").write_text("y")
    await_change(client, "file", folder / "file", since)
    assert not changes(client, "folder", since)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@e", "-c", "init.defaultBranch=main")
    argv = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_the_difference_to_a_remote(server, workspace):
    client = server()
    text = f'failed to compute git diff to remote for cwd: "{workspace}"'
    assert refusal(client, "gitDiffToRemote", cwd=str(workspace)) == (-32600, text)
    git(workspace, "init", "--bare", "remote")
    git(workspace, "clone", "remote", "clone")
    clone = workspace / "clone"
    (clone / "file").write_text("one\n")
    (clone / ".gitignore").write_text("*.log\n")
    git(clone, "add", ".")
    git(clone, "commit", "-m", "first")
    git(clone, "push", "origin", "HEAD")
    first = git(clone, "rev-parse", "HEAD")
    assert client.request("gitDiffToRemote", {"cwd": str(clone)}) == {"sha": first, "diff": ""}
    (clone / "file").write_text("two\n")
    git(clone, "commit", "-a", "-m", "second")
    # A repository can name programs; none of them is run.
    git(clone, "config", "diff.external", f"touch {workspace}/run")
    (clone / "file").write_text("three\n")
    (clone / "sub").mkdir()
    (clone / "sub" / "new file").write_text("new\n")
    (clone / "ignored.log").write_text("no\n")
    told = client.request("gitDiffToRemote", {"cwd": str(clone / "sub")})
    assert told["sha"] == first
    assert "-one\n+three\n" in told["diff"]
    assert "+++ b/sub/new file" in told["diff"]
    assert "ignored" not in told["diff"]
    assert not (workspace / "run").exists()
    patch = workspace / "patch"
    patch.write_text(told["diff"])
    git(workspace, "clone", "remote", "other")
    git(workspace / "other", "apply", str(patch))
    assert (workspace / "other" / "sub" / "new file").read_text() == "new\n"
