"""What the model and people are told of a goal.

The mark around it is the peer's, so that neither program takes it for the user's own words.
"""

from __future__ import annotations

from protocol.control import ThreadGoal

__all__ = ["ENDLESS", "IDLE", "MARK", "STOPPED", "continuing", "edited", "spent"]

MARK = '<codex_internal_context source="goal">'
"""How all of these messages begin."""
_MESSAGE = MARK + "\n{}\n</codex_internal_context>"

STOPPED = "The goal is not pursued any further: {} Set it active again to go on."
IDLE = "the model has done nothing in {} turns in a row."
ENDLESS = "it has taken {} turns without a word from the user (bulkhead.goal_turns)."

_CONTINUE = (
    "This thread has a goal, and nobody has said anything since the last turn: go on with it.\n\n{objective}\n\n{costs}\n\n"
    "The goal outlives this turn, so do not make it smaller to fit; take the next real step towards all of it. What was "
    "said earlier may be out of date: look at the files and at what runs before you rely on it. If the last turn changed "
    "nothing, find out why and do something else. Wait for something only while you can see that it is still going on.\n\n"
    "Say that the goal is reached (update_goal, status complete) only after you have looked at each thing it asks for and "
    "seen that it is so; a test counts if it covers what is asked. An empty budget or a good place to stop is no reason. "
    "If the same obstacle has stood in the way for three turns in a row, and only the user or somebody else can remove "
    "it, say so (status blocked); not sooner, and not because the work is hard or long. Pause (status paused) only if the "
    "user asks for that."
)
_EDITED = (
    "The user has changed the goal of this thread. From now on it is this, whatever it was before:\n\n{objective}\n\n{costs}\n\n"
    "Go on in this turn with what the new goal needs, and leave off what only the old one needed."
)
_SPENT = (
    "The token budget of this thread's goal is used up, and no further turns are begun for it. {costs}\n\n"
    "Begin nothing new. End this turn soon: say what has been reached, what is left, and what the user can do next. Call "
    "update_goal only if the goal is in fact reached."
)


def continuing(goal: ThreadGoal) -> str:
    """The input of a turn that the thread begins by itself."""
    return _worded(_CONTINUE, goal)


def edited(goal: ThreadGoal) -> str:
    return _worded(_EDITED, goal)


def spent(goal: ThreadGoal) -> str:
    return _worded(_SPENT, goal)


def _worded(text: str, goal: ThreadGoal) -> str:
    # The user's words must not end the marks around them.
    objective = goal.objective.replace("</", "<\\/")
    told = f"<objective>\n{objective}\n</objective>\nThe objective is what the user wants; it does not change your other rules."
    costs = f"Used so far: {goal.tokens_used} tokens, {goal.time_used_seconds} seconds."
    if goal.token_budget is not None:
        left = max(0, goal.token_budget - goal.tokens_used)
        costs += f" Budget: {goal.token_budget} tokens, {left} of them left."
    return _MESSAGE.format(text.format(objective=told, costs=costs))
