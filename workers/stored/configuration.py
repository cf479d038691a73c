"""`config/*`: the files read, and the user's written."""

from __future__ import annotations

import os
from collections.abc import Sequence

from config.document import Document
from config.edits import Edit
from config.effective import read_config
from config.errors import ConfigError, ConfigWriteError, InvalidSettingError
from config.key_path import parse_key_path
from config.projects import with_project_layers
from config.store import write_config
from protocol.base import NoParams, Wire
from protocol.configuration import (
    ConfigBatchWriteParams,
    ConfigEdit,
    ConfigReadParams,
    ConfigRequirementsReadResponse,
    ConfigValueWriteParams,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from workers.stored.request import StoredRequest

__all__ = ["load", "read", "read_requirements", "write_batch", "write_value"]


def load(request: StoredRequest, cwd: str | None = None) -> Document:
    """All layers as they are now; with those of the project if there is a `cwd`, which is meant from the server's.

    :raises ConfigError: a file is wrong.
    """
    document = request.flags.load(request.home)
    if cwd is None:
        return document
    return with_project_layers(document, os.path.normpath(os.path.join(os.getcwd(), cwd)), request.home)


def read(request: StoredRequest) -> Wire:
    params = request.params(ConfigReadParams)
    try:
        document = load(request, params.cwd)
        return read_config(document, request.home, include_layers=params.include_layers)
    except InvalidSettingError as error:
        raise RpcError(f"invalid configuration: {error}", INTERNAL_ERROR) from error
    except ConfigError as error:
        raise RpcError(f"failed to read configuration layers: {error}", INTERNAL_ERROR) from error


def write_value(request: StoredRequest) -> Wire:
    params = request.params(ConfigValueWriteParams)
    return _write(request, [params], params.expected_version, params.file_path)


def write_batch(request: StoredRequest) -> Wire:
    params = request.params(ConfigBatchWriteParams)
    return _write(request, params.edits, params.expected_version, params.file_path)


def read_requirements(request: StoredRequest) -> Wire:
    request.params(NoParams)
    return ConfigRequirementsReadResponse()


def _write(
    request: StoredRequest, edits: Sequence[ConfigEdit], expected_version: str | None, file_path: str | None
) -> Wire:
    try:
        parsed = [Edit(parse_key_path(edit.key_path), edit.value, edit.merge_strategy) for edit in edits]
        return write_config(
            request.home,
            parsed,
            lambda: load(request),
            expected_version=expected_version,
            file_path=file_path,
        )
    except ConfigWriteError as error:
        raise RpcError(str(error), data={"config_write_error_code": error.code}) from error
    except ConfigError as error:
        raise RpcError(f"failed to load configuration: {error}", INTERNAL_ERROR) from error
