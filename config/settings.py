"""The settings we understand, typed. Keys that are not listed here are kept in the document and ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from config.document import Document
from config.skills import SkillSwitch
from config.validation import convert
from protocol.policy import GranularApproval, SandboxMode

__all__ = [
    "Bulkhead",
    "CommandLimits",
    "History",
    "Limits",
    "Project",
    "SandboxWorkspaceWrite",
    "Settings",
    "ShellEnvironmentPolicy",
    "Tools",
    "settings_of",
]

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Niceness = Annotated[int, msgspec.Meta(ge=0, le=19)]

# Far above what models read, far below what fits a model's context.
PROJECT_DOC_MAX_BYTES = 32 * 1024


class SandboxWorkspaceWrite(msgspec.Struct, frozen=True, kw_only=True):
    """`[sandbox_workspace_write]`: what `workspace-write` allows beyond the cwd."""

    writable_roots: tuple[str, ...] = ()
    network_access: bool = False
    exclude_tmpdir_env_var: bool = False
    exclude_slash_tmp: bool = False


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """`[projects."/absolute/path"]`."""

    trust_level: Literal["trusted", "untrusted"] | None = None


class ShellEnvironmentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`[shell_environment_policy]`: the variables that commands see.

    Steps, in this order: `inherit` (`core`: HOME, PATH and the like); drop names with KEY, SECRET or TOKEN in
    them unless `ignore_default_excludes`; drop what `exclude` matches (globs, any case); `set`; keep only what
    `include_only` matches, when it is not empty.
    """

    inherit: Literal["core", "all", "none"] = "all"
    # the peer's default: nothing is dropped by name unless asked for
    ignore_default_excludes: bool = True
    exclude: tuple[str, ...] = ()
    set: dict[str, str] = {}
    include_only: tuple[str, ...] = ()


class UpdatePlanTool(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = False


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """`[tools]`. `web_search` is on or off, or a table of search options, which turns it on."""

    update_plan: UpdatePlanTool = UpdatePlanTool()
    view_image: bool | None = None
    web_search: bool | dict[str, Any] | None = None


class SkillsTable(msgspec.Struct, frozen=True, kw_only=True):
    """`[skills]`; its `config` is a list of tables."""

    config: tuple[SkillSwitch, ...] = ()


class History(msgspec.Struct, frozen=True, kw_only=True):
    """`[history]`: checked and shown, without effect, as in Codex's app server. `max_bytes`: of its `history.jsonl`."""

    persistence: Literal["save-all", "none"] = "save-all"
    max_bytes: Count | None = None


class CommandLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`[bulkhead.command_limits]`: what one command and all it starts may use; not set: as much as the server.

    processes, memory_bytes: of all together in a delegated cgroup v2; else threads of the user, bytes of each process.
    file_size_bytes: of each file written. cpu_seconds: of each process.
    """

    processes: Positive | None = None
    memory_bytes: Positive | None = None
    file_size_bytes: Positive | None = None
    cpu_seconds: Positive | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`[bulkhead.limits]`: what one thread may use, its commands included; 0 is no limit.

    Over a limit the thread's worker is ended, and only that one; its turn fails with a reason that names the limit.

    memory_mib: resident memory of the worker and its commands.
    processes: how many processes, the worker included.
    turn_cpu_s: processor time within one turn. turn_s: how long a turn may last.
    log_mib: what may be printed to the thread's log between two looks of the supervisor, which are half a second apart.
    recycle_mib: no end, but a new worker between two turns when the idle worker's memory is above this.
    """

    memory_mib: Count = 0
    processes: Count = 0
    turn_cpu_s: Seconds = 0
    turn_s: Seconds = 0
    log_mib: Count = 64
    recycle_mib: Count = 0


class Bulkhead(msgspec.Struct, frozen=True, kw_only=True):
    """`[bulkhead]`: our own table, about processes. Codex ignores it, so that one file serves both.

    hang_silence_ms: how long an active turn may be silent before its worker is asked for a sign of life.
    hang_grace_ms: how long the worker has to answer before it counts as hung and is ended.
    parked_workers: forked children that wait for a thread.
    restart_limit, restart_window_s: more deaths than this within the window quarantine the thread.
    restart_backoff_ms, restart_backoff_cap_ms: the wait before the second restart, doubled up to the cap.
    login_timeout_s: how long a person has to agree to a login in a browser or to type in a code.
    login_port: where the browser comes back to, if not to 1455 or 1457, the two that OpenAI knows; 0 is any free one.
    keyring_timeout_s: how long the system's keyring may take, a person who unlocks it included.
    max_streams: how many of a provider's model streams may be open at once; the default is 16, and no bound for
        providers on this machine. 0 is no bound.
    provider_streams: the same for single providers, by name; goes before max_streams.
    credit_bytes: what a worker may have on the way to a client that does not read; what is kept about it in the front comes
        on top.
    unattended_approvals, unattended_after_s: what happens to a question (an approval, say) when no client has been
        attached to the thread for so long: it waits, it is declined, or its turn is interrupted.
    feedback_url: where feedback reports are sent, with POST and without credentials. None: they stay in the home.
    worker_nice: niceness of workers, so that the front stays quick under load.
    command_limits: what a command may use.
    hibernate_after_s: how long a thread is idle until its worker ends; 0: never. The thread stays loaded.
    memory_budget_mib: above this, for all workers together, idle threads hibernate at once, the longest idle first; 0: none.
    memory_pressure_pct: the same when the system has been waiting for memory for so much of the last 10 s; 0: never.
    cgroup: where control groups for threads with limits are made: a delegated cgroup v2, `off`, or `auto`, the server's own.
    memory_pressure_file: where the kernel tells that (PSI): of the system, or the memory.pressure of a control group.
    client_stall_s: a client on a socket that has read nothing for so long, while something waits for it, is let go; 0: never.
    goal_turns: how many turns a thread takes for its goal without a word from the user; 0: any number.
    max_threads: how many threads may be loaded at once, asleep or not; 0: as many as the system bears.
    idle_unload_s: a loaded thread without clients and turns is unloaded after this; 0: never.
    """

    hang_silence_ms: Positive = 10_000
    hang_grace_ms: Positive = 5_000
    parked_workers: Count = 4
    restart_limit: Count = 5
    restart_window_s: Seconds = 60.0
    restart_backoff_ms: Positive = 50
    restart_backoff_cap_ms: Positive = 5_000
    credit_bytes: Positive = 32 * 1024
    unattended_approvals: Literal["wait", "decline", "interrupt"] = "wait"
    unattended_after_s: Seconds = 300.0
    feedback_url: str | None = None
    worker_nice: Niceness = 10
    command_limits: CommandLimits = CommandLimits()
    login_timeout_s: Seconds = 600.0
    login_port: Port | None = None
    keyring_timeout_s: Seconds = 20.0
    max_streams: Count | None = None
    provider_streams: dict[str, Count] = {}
    hibernate_after_s: Seconds = 600.0
    memory_budget_mib: Count = 0
    memory_pressure_pct: Seconds = 20.0
    memory_pressure_file: str = "/proc/pressure/memory"
    client_stall_s: Seconds = 600.0
    limits: Limits = Limits()
    max_threads: Count = 0
    cgroup: str = "auto"
    idle_unload_s: Seconds = 1800.0
    goal_turns: Count = 200


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The top level of `config.toml`. `None`: not set, which is not always the same as the default.

    Providers are in `config.providers`: they are checked one by one, when one is used.
    """

    model: str | None = None
    model_provider: str | None = None
    model_providers: dict[str, Any] = {}
    model_reasoning_effort: str | None = None
    model_reasoning_summary: Literal["auto", "concise", "detailed", "none"] | None = None
    model_verbosity: Literal["low", "medium", "high"] | None = None
    model_context_window: Positive | None = None
    model_auto_compact_token_limit: Positive | None = None
    model_instructions_file: str | None = None
    instructions: str | None = None
    developer_instructions: str | None = None
    personality: Literal["none", "friendly", "pragmatic"] | None = None
    service_tier: str | None = None

    # on-failure is the spelling of Codex 0.58; it means on-request today
    approval_policy: Literal["untrusted", "on-failure", "on-request", "never"] | GranularApproval | None = (
        None
    )
    approvals_reviewer: Literal["user", "auto_review", "guardian_subagent"] | None = None
    sandbox_mode: SandboxMode | None = None
    sandbox_workspace_write: SandboxWorkspaceWrite | None = None
    projects: dict[str, Project] = {}
    shell_environment_policy: ShellEnvironmentPolicy = ShellEnvironmentPolicy()

    project_doc_max_bytes: Count = PROJECT_DOC_MAX_BYTES
    project_doc_fallback_filenames: tuple[str, ...] = ()
    project_root_markers: tuple[str, ...] = (".git",)

    skills: SkillsTable = SkillsTable()
    tools: Tools = Tools()
    web_search: Literal["disabled", "cached", "indexed", "live"] | None = None
    features: dict[str, Any] = {}
    suppress_unstable_features_warning: bool = False
    show_raw_agent_reasoning: bool = False
    hide_agent_reasoning: bool = False
    history: History = History()

    forced_login_method: Literal["chatgpt", "api"] | None = None
    forced_chatgpt_workspace_id: str | tuple[str, ...] | None = None
    cli_auth_credentials_store: Literal["file", "keyring", "auto", "ephemeral"] = "file"
    chatgpt_base_url: str = "https://chatgpt.com/backend-api/"
    openai_base_url: str | None = None

    mcp_optional_startup_grace_ms: Count = 1000
    mcp_oauth_callback_port: Port | None = None

    bulkhead: Bulkhead = Bulkhead()

    def feature(self, name: str, *, default: bool = False) -> bool:
        """Whether `[features]` has `name` on; a table counts as on, as does the peer's `enabled = true`."""
        value = self.features.get(name, default)
        if isinstance(value, dict):
            value = value.get("enabled", True)
        return value is True


def settings_of(document: Document) -> Settings:
    """:raises InvalidSettingError: a key we understand has a wrong type or is out of range."""
    return convert(document.merged(), Settings, document)
