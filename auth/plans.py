"""From the issuer's names of plans to those of the protocol."""

from __future__ import annotations

__all__ = ["PLAN_TYPES", "plan_type"]

PLAN_TYPES = {
    name: name
    for name in (
        "free",
        "go",
        "plus",
        "pro",
        "prolite",
        "promax",
        "team",
        "business",
        "enterprise",
        "edu",
        "edu_plus",
        "edu_pro",
        "ent26",
        "self_serve_business_usage_based",
        "self_serve_business_prolite",
        "enterprise_cbp_usage_based",
        "enterprise_cbp_automation",
        "sci",
        "sci_plus",
    )
} | {"hc": "enterprise", "education": "edu"}
"""As Codex 0.169 answers for each; all other names are `unknown` to it, differently spelt ones too."""


def plan_type(name: str | None) -> str:
    """The protocol's plan type for a token's plan."""
    return PLAN_TYPES.get(name or "", "unknown")
