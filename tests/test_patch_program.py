"""The program that applies a patch inside the sandbox."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from patch_texts import text_of

from workers.tools.patch_program import patch_argv, patch_input


def program(folder: Path, text: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    python, *rest = patch_argv()
    return subprocess.run(
        [python, *arguments, *rest],
        input=patch_input(text),
        cwd=folder,
        env={},
        capture_output=True,
        check=False,
    )


def test_the_program_applies_a_patch_from_standard_input(tmp_path):
    done = program(tmp_path, text_of("*** Add File: é.txt", "+ü").encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "Success. Updated the following files:\nA é.txt\n"
    assert tmp_path.joinpath("é.txt").read_bytes() == "ü\n".encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"\xff", "invalid patch: the text is not valid UTF-8\n"),
        (b"x", "invalid patch: The first line of the patch must be '*** Begin Patch'\n"),
    ],
)
def test_the_program_reports_errors_on_standard_error(tmp_path, text, error):
    done = program(tmp_path, text)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", error)


def test_the_program_imports_little_and_nothing_from_a_folder_of_ours(tmp_path):
    done = program(tmp_path, text_of("*** Add File: a", "+1").encode(), "-X", "importtime")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert {"os", "stat"} <= loaded
    dear = {"re", "typing", "collections", "dataclasses", "contextlib", "workers", "msgspec"}
    assert not {name.partition(".")[0] for name in loaded} & dear
