"""The effective settings of one thread: configuration, trust and the wishes of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from config.document import Document
from config.errors import MalformedConfigError, ModelMissingError
from config.features import unstable
from config.hooks import Hook, hooks_of
from config.mcp_servers import McpServer, mcp_servers_of
from config.models import ModelInfo, Verbosity, default_model, find_model
from config.permissions import approval_of, named_sandbox, sandbox_of, workspace_of
from config.places import absolute, folder_of
from config.project_docs import load_project_docs
from config.projects import with_project_layers
from config.providers import DEFAULT_PROVIDER, ProviderEndpoint, find_provider
from config.settings import (
    CommandLimits,
    Settings,
    ShellEnvironmentPolicy,
    settings_of,
)
from config.skills import Skills, find_skills
from config.trust import TrustLevel, trust_of
from protocol.policy import (
    ApprovalPolicy,
    SandboxMode,
    SandboxPolicy,
)
from protocol.threads import (
    ApprovalsReviewer,
    PermissionProfile,
    Personality,
    ThreadOpening,
)

__all__ = [
    "GOAL_TOOLS",
    "ThreadOverrides",
    "ThreadSettings",
    "resolve_mcp_servers",
    "resolve_thread",
    "reviewer_of",
    "tier_of",
]

UPDATE_PLAN, VIEW_IMAGE, WEB_SEARCH = "update_plan", "view_image", "web_search"
REQUEST_PERMISSIONS = "request_permissions"
GOAL_TOOLS = ("get_goal", "create_goal", "update_goal")


class ThreadOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about its thread. `config` is a partial configuration, nested or with dotted keys."""

    model: str | None = None
    model_provider: str | None = None
    approval_policy: ApprovalPolicy | None = None
    approvals_reviewer: ApprovalsReviewer | None = None
    sandbox: SandboxMode | None = None
    permissions: str | None = None
    cwd: str | None = None
    config: dict[str, Any] | None = None
    base_instructions: str | None = None
    developer_instructions: str | None = None
    personality: Personality | None = None
    service_tier: str | None = None

    @classmethod
    def of(cls, params: ThreadOpening) -> ThreadOverrides:
        return cls(**{name: getattr(params, name, None) for name in cls.__struct_fields__})


class ThreadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker needs to know about its thread. Holds no secrets, and is sent to workers as it is.

    cwd: absolute; need not exist. more_roots: folders of the workspace besides it. permission_profile: what clients see when nobody has chosen a sandbox.
    model_info: of `model`, with the window from the settings in place.
    auto_compact_limit: in tokens. tools: names of the built-in tools on offer.
    skills: all that were found for the cwd. goals: whether the thread may have one; goal_turns: see `Bulkhead`.
    command_permissions: whether the model may ask for permissions of a single command.
    unstable_features: those that are on and that people are warned of.
    user_instructions, instruction_sources: the text of the AGENTS.md files and their paths.
    base_instructions: None means the server's own.
    hooks: those that run. hook_warnings: what is wrong with the others.
    secret_variables: names of those in the environment that hold the provider's keys.
    mcp_servers: the disabled ones too. mcp_grace_s: how long a turn waits for those that are still starting.
    """

    cwd: str
    more_roots: tuple[str, ...]
    trust: TrustLevel | None
    model: str
    model_info: ModelInfo
    provider: ProviderEndpoint
    reasoning_effort: str | None
    reasoning_summary: Literal["auto", "concise", "detailed", "none"] | None
    verbosity: Verbosity | None
    auto_compact_limit: int
    service_tier: str | None
    personality: Personality | None
    approval_policy: ApprovalPolicy
    approvals_reviewer: ApprovalsReviewer
    sandbox: SandboxPolicy
    permission_profile: PermissionProfile | None
    shell_environment: ShellEnvironmentPolicy
    command_limits: CommandLimits
    base_instructions: str | None
    developer_instructions: str | None
    skills: Skills
    user_instructions: str
    instruction_sources: tuple[str, ...]
    tools: tuple[str, ...]
    features: dict[str, Any]
    goals: bool
    command_permissions: bool
    unstable_features: tuple[str, ...]
    goal_turns: int
    mcp_servers: tuple[McpServer, ...] = ()
    mcp_grace_s: float = 0.0
    hooks: tuple[Hook, ...] = ()
    hook_warnings: tuple[str, ...] = ()
    secret_variables: tuple[str, ...] = ()

    @property
    def workspace_roots(self) -> list[str]:
        return list(dict.fromkeys((self.cwd, *self.more_roots)))

    def with_model(self, model: str) -> ThreadSettings:
        """With another model; what its predecessor was not given, it is not given either."""
        before, info = self.model_info, find_model(model)
        refused = set(before.tools).difference(self.tools)
        return msgspec.structs.replace(
            self,
            model=model,
            model_info=info,
            verbosity=info.verbosity if self.verbosity == before.verbosity else self.verbosity,
            tools=(
                *(name for name in info.tools if name not in refused),
                *(name for name in self.tools if name not in before.tools),  # no model's own
            ),
        )


def resolve_thread(
    document: Document,
    overrides: ThreadOverrides,
    *,
    home: str,
    server_cwd: str,
    environ: Mapping[str, str],
) -> ThreadSettings:
    """`server_cwd` is the folder a relative cwd is meant from, and the cwd of a thread without one.

    :raises ConfigError: any of the errors of this package but HomeError and InvalidCursorError.
    """
    cwd = absolute(overrides.cwd or "", server_cwd, environ)
    document = with_project_layers(document.with_request(overrides.config or {}), cwd, home)
    settings = settings_of(document)
    trust = trust_of(cwd, settings.projects)
    provider_id = _first(overrides.model_provider, settings.model_provider, DEFAULT_PROVIDER)
    provider = find_provider(document, provider_id)
    model = _first(overrides.model, settings.model, default_model())
    if not model:
        raise ModelMissingError
    info = find_model(model)
    if settings.model_context_window is not None:
        info = msgspec.structs.replace(info, context_window=settings.model_context_window)
    workspace = workspace_of(document, settings.sandbox_workspace_write, cwd, environ)
    profile: PermissionProfile | None
    if overrides.permissions is not None:
        workspace = None  # a name means the same everywhere, whatever the configuration adds to a mode
        sandbox, profile = named_sandbox(overrides.permissions)
    else:
        sandbox, profile = sandbox_of(overrides.sandbox or settings.sandbox_mode, workspace, trust)
    hooks = hooks_of(document, home)
    docs = load_project_docs(
        home,
        cwd,
        max_bytes=settings.project_doc_max_bytes,
        fallback_names=settings.project_doc_fallback_filenames,
        root_markers=settings.project_root_markers,
    )
    return ThreadSettings(
        cwd=cwd,
        more_roots=workspace.writable_roots if workspace else (),
        trust=trust,
        model=model,
        model_info=info,
        provider=provider.endpoint(provider_id, environ, openai_base_url=settings.openai_base_url),
        reasoning_effort=settings.model_reasoning_effort,
        reasoning_summary=settings.model_reasoning_summary,
        verbosity=settings.model_verbosity or info.verbosity,
        auto_compact_limit=settings.model_auto_compact_token_limit or info.compact_limit,
        service_tier=tier_of(overrides.service_tier or settings.service_tier),
        personality=overrides.personality or settings.personality,
        approval_policy=overrides.approval_policy or approval_of(settings, trust),
        approvals_reviewer=reviewer_of(overrides.approvals_reviewer or settings.approvals_reviewer or "user"),
        sandbox=sandbox,
        permission_profile=profile,
        shell_environment=settings.shell_environment_policy,
        command_limits=settings.bulkhead.command_limits,
        base_instructions=_base_instructions(document, settings, overrides, home, environ),
        developer_instructions=overrides.developer_instructions or settings.developer_instructions,
        skills=find_skills(
            home,
            cwd,
            environ=environ,
            switches=settings.skills.config,
            root_markers=settings.project_root_markers,
        ),
        user_instructions=docs.text,
        instruction_sources=docs.sources,
        tools=_tools(settings, info),
        features=settings.features,
        goals=settings.feature("goals", default=True),
        goal_turns=settings.bulkhead.goal_turns,
        command_permissions=settings.feature("exec_permission_approvals"),
        unstable_features=unstable(settings),
        mcp_servers=mcp_servers_of(document, cwd),
        mcp_grace_s=settings.mcp_optional_startup_grace_ms / 1000,
        hooks=hooks.running,
        hook_warnings=hooks.warnings,
        secret_variables=provider.secret_variables,
    )


def tier_of(name: str | None) -> str | None:
    """A service tier under the name that providers know it by."""
    return "priority" if name == "fast" else name


def reviewer_of(name: ApprovalsReviewer) -> ApprovalsReviewer:
    """Who looks at approvals, under today's name."""
    return "auto_review" if name == "guardian_subagent" else name


def resolve_mcp_servers(
    document: Document, overrides: ThreadOverrides, cwd: str, home: str
) -> tuple[McpServer, ...]:
    """As they are for a thread in `cwd`, which is absolute.

    :raises ConfigError: a layer is wrong.
    """
    return mcp_servers_of(with_project_layers(document.with_request(overrides.config or {}), cwd, home), cwd)


def _first(*wishes: str | None) -> str:
    """The first that is there, be it empty; the last always is."""
    return next(wish for wish in wishes if wish is not None)


def _base_instructions(
    document: Document, settings: Settings, overrides: ThreadOverrides, home: str, environ: Mapping[str, str]
) -> str | None:
    if overrides.base_instructions is not None:
        return overrides.base_instructions
    if settings.model_instructions_file is None:
        return settings.instructions
    base = folder_of(document.layer_of(("model_instructions_file",)), home)
    path = absolute(settings.model_instructions_file, base, environ)
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedConfigError(path, 0, 0, f"model_instructions_file cannot be read: {error}") from error


def _tools(settings: Settings, info: ModelInfo) -> tuple[str, ...]:
    """`update_plan` is off unless asked for, the other tools of the model are on unless refused."""
    searched = settings.tools.web_search
    switch = {
        UPDATE_PLAN: settings.tools.update_plan.enabled,
        VIEW_IMAGE: settings.tools.view_image is not False,
        WEB_SEARCH: settings.web_search != "disabled" if settings.web_search else searched is not False,
    }
    offered = tuple(name for name in info.tools if switch.get(name, True))
    if settings.feature("goals", default=True):
        offered = (*offered, *GOAL_TOOLS)
    return (*offered, REQUEST_PERMISSIONS) if settings.feature("request_permissions_tool") else offered
