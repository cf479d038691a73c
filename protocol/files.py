"""`fs/*`: the machine's file system, by absolute paths, without a sandbox."""

from __future__ import annotations

from protocol.base import Params, Wire
from protocol.constraints import AbsolutePath

__all__ = [
    "FsChangedNotification",
    "FsCopyParams",
    "FsCopyResponse",
    "FsCreateDirectoryParams",
    "FsCreateDirectoryResponse",
    "FsGetMetadataParams",
    "FsGetMetadataResponse",
    "FsReadDirectoryEntry",
    "FsReadDirectoryParams",
    "FsReadDirectoryResponse",
    "FsReadFileParams",
    "FsReadFileResponse",
    "FsRemoveParams",
    "FsRemoveResponse",
    "FsUnwatchParams",
    "FsUnwatchResponse",
    "FsWatchParams",
    "FsWatchResponse",
    "FsWriteFileParams",
    "FsWriteFileResponse",
]


class FsReadFileParams(Params):
    path: AbsolutePath


class FsReadFileResponse(Wire):
    data_base64: bytes


class FsWriteFileParams(Params):
    path: AbsolutePath
    data_base64: str


class FsWriteFileResponse(Wire):
    pass


class FsCreateDirectoryParams(Params):
    """recursive: with all missing parents, and no error if it is there; null means true."""

    path: AbsolutePath
    recursive: bool | None = None


class FsCreateDirectoryResponse(Wire):
    pass


class FsGetMetadataParams(Params):
    path: AbsolutePath


class FsGetMetadataResponse(Wire):
    """Of what the path leads to, but for `is_symlink`. Times in Unix ms; 0: the system does not tell."""

    is_directory: bool
    is_file: bool
    is_symlink: bool
    created_at_ms: int
    modified_at_ms: int


class FsReadDirectoryParams(Params):
    path: AbsolutePath


class FsReadDirectoryEntry(Wire):
    file_name: str
    is_directory: bool
    is_file: bool


class FsReadDirectoryResponse(Wire):
    entries: list[FsReadDirectoryEntry]


class FsRemoveParams(Params):
    """recursive: directories with all that is in them. force: what is not there is no error. null means true."""

    path: AbsolutePath
    recursive: bool | None = None
    force: bool | None = None


class FsRemoveResponse(Wire):
    pass


class FsCopyParams(Params):
    """recursive: needed for directories, ignored for files."""

    source_path: AbsolutePath
    destination_path: AbsolutePath
    recursive: bool = False


class FsCopyResponse(Wire):
    pass


class FsWatchParams(Params):
    """A file (which need not be there yet), or a directory with its entries but not what is below them."""

    path: AbsolutePath
    watch_id: str


class FsWatchResponse(Wire):
    path: str


class FsUnwatchParams(Params):
    watch_id: str


class FsUnwatchResponse(Wire):
    pass


class FsChangedNotification(Wire):
    watch_id: str
    changed_paths: list[str]
