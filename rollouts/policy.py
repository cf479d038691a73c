"""Policies and error infos in the form of the file: kebab-case and snake_case where the wire has camelCase."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from protocol.policy import (
    ApprovalPolicy,
    DangerFullAccess,
    ExternalSandbox,
    ReadOnly,
    SandboxPolicy,
    WorkspaceWrite,
)
from protocol.turns import CodexErrorInfo, TurnError

__all__ = [
    "approval_of",
    "camel_keys",
    "error_of",
    "permission_profile",
    "sandbox_of",
    "sandbox_of_profile",
    "snake_keys",
    "stored_error",
    "stored_sandbox",
]

_KINDS: dict[str, type[SandboxPolicy]] = {
    "danger-full-access": DangerFullAccess,
    "read-only": ReadOnly,
    "external-sandbox": ExternalSandbox,
    "workspace-write": WorkspaceWrite,
}
# Below a writable cwd, what a command must not write for it would be run or believed later.
_PROTECTED = (".git", ".agents", ".codex", ".aws")
_NAMES = {kind: name for name, kind in _KINDS.items()}
_UPPER = re.compile(r"(?<=[a-z0-9])([A-Z])")
_LOWER = re.compile(r"_([a-z0-9])")


def stored_sandbox(policy: SandboxPolicy) -> dict[str, Any]:
    """`{"type": "workspace-write", "network_access": false, ...}`; fields at their default are left out but these."""
    fields = {name: getattr(policy, name) for name in type(policy).__struct_fields__}
    if isinstance(policy, WorkspaceWrite) and not policy.writable_roots:
        del fields["writable_roots"]
    if isinstance(policy, ReadOnly) and not policy.network_access:
        del fields["network_access"]
    return {"type": _NAMES[type(policy)], **fields}


def permission_profile(policy: SandboxPolicy, cwd: str) -> dict[str, Any]:
    """The same policy as the peer wants it to resume with: as a list of what may be read and written where."""
    match policy:
        case DangerFullAccess():
            return {"type": "disabled"}
        case ExternalSandbox():
            return {"type": "external", "network": policy.network_access}
        case ReadOnly():
            entries = [_special("root", "read")]
        case WorkspaceWrite():
            entries = [_special("root", "read"), *_path_entries([cwd, *policy.writable_roots], "write")]
            if not policy.exclude_slash_tmp:
                entries.append(_special("slash_tmp", "write"))
            if not policy.exclude_tmpdir_env_var:
                entries.append(_special("tmpdir", "write"))
            protected = _path_entries([f"{cwd}/{name}" for name in _PROTECTED], "read")
            entries += [{**entry, "missing_path_behavior": "skip"} for entry in protected]
    network = "enabled" if policy.network_access else "restricted"
    return {"type": "managed", "file_system": {"type": "restricted", "entries": entries}, "network": network}


def _special(kind: str, access: str) -> dict[str, Any]:
    return {"path": {"type": "special", "value": {"kind": kind}}, "access": access}


def _path_entries(paths: list[str], access: str) -> list[dict[str, Any]]:
    return [{"path": {"type": "path", "path": path}, "access": access} for path in paths]


def sandbox_of(stored: Any) -> SandboxPolicy | None:
    """The policy of a `turn_context` (0.58 calls the type `mode`); None where it is not understood."""
    if not isinstance(stored, dict):
        return None
    word = stored.get("type", stored.get("mode"))
    kind = _KINDS.get(word) if isinstance(word, str) else None
    if kind is None:
        return None
    known = {name: stored[name] for name in kind.__struct_fields__ if name in stored}
    wire = {_camel(name): value for name, value in known.items()}
    try:
        return msgspec.convert({"type": kind.__struct_config__.tag, **wire}, kind)
    except msgspec.ValidationError:
        return None


def sandbox_of_profile(profile: Any, cwd: str) -> SandboxPolicy | None:
    """The policy that a permission profile stands for; None where it is not understood."""
    if not isinstance(profile, dict):
        return None
    network = profile.get("network")
    if profile.get("type") == "disabled":
        return DangerFullAccess()
    if profile.get("type") == "external":
        return ExternalSandbox(network_access="enabled" if network == "enabled" else "restricted")
    files = profile.get("file_system")
    entries = files.get("entries") if isinstance(files, dict) else None
    if profile.get("type") != "managed" or not isinstance(entries, list):
        return None
    written = [
        entry["path"]
        for entry in entries
        if isinstance(entry, dict) and entry.get("access") == "write" and isinstance(entry.get("path"), dict)
    ]
    if not written:
        return ReadOnly(network_access=network == "enabled")
    special = [path["value"].get("kind") for path in written if isinstance(path.get("value"), dict)]
    return WorkspaceWrite(
        writable_roots=tuple(p for path in written if isinstance(p := path.get("path"), str) and p != cwd),
        network_access=network == "enabled",
        exclude_tmpdir_env_var="tmpdir" not in special,
        exclude_slash_tmp="slash_tmp" not in special,
    )


def approval_of(stored: Any) -> ApprovalPolicy | None:
    """The approval policy of a `turn_context`. `on-failure` of old files, gone in 0.169, becomes `on-request`."""
    if stored == "on-failure":
        return "on-request"
    try:
        policy: ApprovalPolicy = msgspec.convert(stored, ApprovalPolicy)
    except msgspec.ValidationError:
        return None
    return policy


def stored_error(error: TurnError) -> dict[str, Any]:
    stored: dict[str, Any] = {"message": error.message}
    info: CodexErrorInfo | None = error.codex_error_info
    stored["codex_error_info"] = _snake(info) if isinstance(info, str) else snake_keys(info)
    if error.additional_details is not None:
        stored["additional_details"] = error.additional_details
    return stored


def error_of(stored: Any) -> TurnError:
    """The wire form; what is missing or odd becomes an empty text."""
    if not isinstance(stored, dict):
        return TurnError(message=stored if isinstance(stored, str) else "")
    message, details = stored.get("message"), stored.get("additional_details")
    info = stored.get("codex_error_info")
    wire: CodexErrorInfo | None = None
    if isinstance(info, str):
        wire = _camel(info)
    elif isinstance(info, dict):
        wire = camel_keys(info)
    return TurnError(
        message=message if isinstance(message, str) else "",
        codex_error_info=wire,
        additional_details=details if isinstance(details, str) else None,
    )


def camel_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(key): camel_keys(inner) for key, inner in value.items()}
    return [camel_keys(inner) for inner in value] if isinstance(value, list) else value


def snake_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_snake(key): snake_keys(inner) for key, inner in value.items()}
    return [snake_keys(inner) for inner in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    return _LOWER.sub(lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return _UPPER.sub(lambda match: "_" + match[1].lower(), name)
