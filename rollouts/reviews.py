"""A review as it is stored, and as text: its findings, and what was reviewed in a few words."""

from __future__ import annotations

from typing import Any

__all__ = ["NO_OUTPUT", "hint_of", "review_output", "review_text"]

NO_OUTPUT = "Reviewer failed to output a response."
SHORT_SHA = 7


def hint_of(target: Any) -> str:
    """What is reviewed: `target` as in `review/start`."""
    if not isinstance(target, dict):
        return ""
    match target.get("type"):
        case "uncommittedChanges":
            return "current changes"
        case "baseBranch":
            return f"changes against '{target.get('branch')}'"
        case "commit":
            sha, title = str(target.get("sha"))[:SHORT_SHA], target.get("title")
            return f"commit {sha}: {title}" if title else f"commit {sha}"
        case "custom":
            return str(target.get("instructions") or "").strip()
        case _:
            return ""


def review_output(text: str) -> dict[str, Any]:
    """The stored form of a review that is text."""
    return {
        "findings": [],
        "overall_correctness": "",
        "overall_explanation": text,
        "overall_confidence_score": 0.0,
    }


def review_text(output: Any) -> str:
    """The explanation, then the findings; `output` in stored form, None for a review that came to nothing."""
    if not isinstance(output, dict):
        return NO_OUTPUT
    parts = [str(output.get("overall_explanation") or "").strip()]
    findings = output.get("findings")
    if isinstance(findings, list) and findings:
        head = "Full review comments:" if len(findings) > 1 else "Review comment:"
        parts.append("\n".join([head, *(line for finding in findings for line in _finding(finding))]).strip())
    return "\n\n".join(filter(None, parts)) or NO_OUTPUT


def _finding(finding: Any) -> list[str]:
    if not isinstance(finding, dict):
        return []
    place = finding.get("code_location")
    where = ""
    if isinstance(place, dict):
        lines = place.get("line_range")
        span = f":{lines.get('start')}-{lines.get('end')}" if isinstance(lines, dict) else ""
        where = f" — {place.get('absolute_file_path')}{span}"
    body = str(finding.get("body") or "").splitlines()
    return ["", f"- {finding.get('title')}{where}", *(f"  {line}" for line in body)]
