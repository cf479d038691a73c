from __future__ import annotations

import base64
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.tools import image, tool_output


def test_exec_results_have_the_peers_form():
    assert tool_output.exec_result("hi\n", chunk_id="963301", wall_seconds=0.0001, exit_code=0) == (
        "Chunk ID: 963301\nWall time: 0.0001 seconds\nProcess exited with code 0\nOriginal token count: 1\nOutput:\nhi\n"
    )
    assert tool_output.exec_result("", chunk_id="b8db64", wall_seconds=0.302, session_id=59384) == (
        "Chunk ID: b8db64\nWall time: 0.3020 seconds\nProcess running with session ID 59384\n"
        "Original token count: 0\nOutput:\n"
    )


def test_a_process_has_either_ended_or_a_session():
    with pytest.raises(ValueError, match="either"):
        tool_output.exec_result("", chunk_id="0", wall_seconds=0)
    with pytest.raises(ValueError, match="either"):
        tool_output.exec_result("", chunk_id="0", wall_seconds=0, exit_code=0, session_id=1)


SEQUENCE = "".join(f"{n}\n" for n in range(1, 201))


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        (
            SEQUENCE,
            20,
            (
                "Warning: truncated output (original token count: 173)\nTotal output lines: 200\n\n"
                "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n1…153 tokens truncated…"
                "191\n192\n193\n194\n195\n196\n197\n198\n199\n200\n"
            ),
        ),
        (
            "é" * 300 + "\n",
            20,
            (
                "Warning: truncated output (original token count: 151)\nTotal output lines: 1\n\n"
                f"{'é' * 20}…131 tokens truncated…{'é' * 19}\n"
            ),
        ),
        (
            SEQUENCE,
            0,
            "Warning: truncated output (original token count: 173)\nTotal output lines: 200\n\n…173 tokens truncated…",
        ),
        (
            "abcdefghi",
            2,
            "Warning: truncated output (original token count: 3)\nTotal output lines: 1\n\nabcd…1 tokens truncated…fghi",
        ),
        ("abcdefgh", 2, "abcdefgh"),
    ],
)
def test_long_output_is_truncated_as_the_peer_does(text, tokens, expected):
    if text is SEQUENCE and tokens:
        # 40 bytes on either side
        expected = expected.replace("191\n", SEQUENCE.encode()[-40:].decode().partition("192\n")[0])
    assert tool_output.truncated(text, tokens) == expected


def test_what_was_dropped_before_is_counted():
    shown = tool_output.exec_result(
        "a" * 100, chunk_id="0", wall_seconds=1, exit_code=0, max_tokens=10, omitted_bytes=1000
    )
    assert "Original token count: 275\n" in shown
    assert "... 1000 bytes omitted ...\n\n" in shown
    assert f"{'a' * 20}…265 tokens truncated…{'a' * 20}" in shown


@given(st.text(), st.integers(-5, 60), st.integers(0, 100))
def test_truncated_output_keeps_head_and_tail_within_the_bound(text, tokens, omitted):
    shown = tool_output.truncated(text, tokens, omitted)
    if shown == text:
        assert len(text.encode()) + omitted <= max(tokens, 0) * 4
        return
    body = shown.split("\n\n", 1)[1]
    marker = re.search(r"…\d+ tokens truncated…", body)
    assert marker
    # the text itself may hold a marker; the right one leaves a head and a tail
    assert len(body.encode()) - len(marker[0].encode()) <= max(tokens, 0) * 4 or text.count("…") > 0
    assert text.startswith(body[: marker.start()]) or "…" in text


def test_the_other_results_have_the_peers_words():
    assert tool_output.patch_result(
        "Success. Updated the following files:\nA hello.txt\n", exit_code=0, wall_seconds=0.04
    ) == ("Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nA hello.txt\n")
    assert (
        tool_output.patch_result("", exit_code=1, wall_seconds=1.26).splitlines()[1]
        == "Wall time: 1.3 seconds"
    )
    assert tool_output.exec_rejected(tool_output.REJECTED_BY_USER) == (
        'exec_command failed: CreateProcess { message: "Rejected(\\"rejected by user\\")" }'
    )
    assert tool_output.unknown_tool("no_such_tool") == "unsupported call: no_such_tool"
    assert tool_output.unknown_process(0) == "write_stdin failed: Unknown process id 0"
    assert tool_output.bad_arguments("x at line 1") == "failed to parse function arguments: x at line 1"
    assert tool_output.mcp_header(0.00123) == "Wall time: 0.0012 seconds\nOutput:"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89arest", "image/gif"),
        (b"RIFF\0\0\0\0WEBPrest", "image/webp"),
    ],
)
def test_an_image_becomes_a_data_url(tmp_path, data, kind):
    file = tmp_path / "any.name"
    file.write_bytes(data)
    assert image.data_url(str(file)) == f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_what_is_no_image_is_refused_with_the_reason(tmp_path, monkeypatch):
    def refusal(path: str) -> str:
        with pytest.raises(image.ImageError) as caught:
            image.data_url(path)
        return str(caught.value)

    tmp_path.joinpath("text").write_text("RIFF1234WAVE")
    os.mkfifo(tmp_path / "fifo")
    assert refusal(f"{tmp_path}/no") == (
        f"unable to locate image at `{tmp_path}/no`: No such file or directory (os error 2)"
    )
    assert refusal(f"{tmp_path}") == f"image path `{tmp_path}` is not a file"
    assert refusal(f"{tmp_path}/fifo") == f"image path `{tmp_path}/fifo` is not a file"
    assert refusal(f"{tmp_path}/text") == "unable to process image: invalid or unsupported image data"
    assert refusal("a\0b") == "unable to locate image: the path has a NUL character"
    monkeypatch.setattr(image, "MAX_IMAGE_BYTES", 10)
    assert refusal(f"{tmp_path}/text") == "unable to process image: more than 10 bytes"
