"""Images as the model takes them: data URLs."""

from __future__ import annotations

import base64
import os
import stat

__all__ = ["MAX_IMAGE_BYTES", "ImageError", "UnreadableImage", "check_data_url", "data_url", "media_type"]

MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""Before base64, which adds a third. Model servers refuse larger images, and the text stays in the conversation."""

NO_IMAGE = "unable to process image: invalid or unsupported image data"


class ImageError(Exception):
    """A file cannot be shown to the model. The text is meant for the model."""


class UnreadableImage(ImageError):
    """There is no such file, or it cannot be opened. `cause` is what the system says."""

    def __init__(self, path: str, error: OSError) -> None:
        self.cause = f"{error.strerror} (os error {error.errno})"
        super().__init__(f"unable to locate image at `{path}`: {self.cause}")


def media_type(data: bytes) -> str | None:
    """PNG, JPEG, GIF or WebP by their first bytes, `None` for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def check_data_url(url: str) -> None:
    """:raises ImageError: `url` holds no image. A model server would refuse it, and all requests after it."""
    head, _, body = url.partition(",")
    try:
        data = base64.b64decode(body, validate=True) if head.endswith(";base64") else b""
    except ValueError:
        data = b""
    if media_type(data) is None:
        raise ImageError(NO_IMAGE)


def data_url(path: str) -> str:
    """`data:image/png;base64,…` of the image at `path`. Raises `ImageError`."""
    try:
        # a FIFO would block on open
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"image path `{path}` is not a file")
        with open(path, "rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise UnreadableImage(path, error) from None
    except ValueError:
        raise ImageError("unable to locate image: the path has a NUL character") from None
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageError(f"unable to process image: more than {MAX_IMAGE_BYTES} bytes")
    kind = media_type(data)
    if kind is None:
        raise ImageError(NO_IMAGE)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
