"""The old methods: name -> handler."""

from __future__ import annotations

from supervisor.handlers.registry import Handler
from supervisor.v1 import conversations, machine

__all__ = ["V1_HANDLERS"]

V1_HANDLERS: dict[str, Handler] = {
    "newConversation": conversations.new,
    "listConversations": conversations.list_,
    "resumeConversation": conversations.resume,
    "archiveConversation": conversations.archive,
    "getConversationSummary": conversations.summary,
    "addConversationListener": conversations.add_listener,
    "removeConversationListener": conversations.remove_listener,
    "sendUserMessage": conversations.send_message,
    "sendUserTurn": conversations.send_turn,
    "interruptConversation": conversations.interrupt,
    "loginApiKey": machine.login_api_key,
    "loginChatGpt": machine.login_chatgpt,
    "cancelLoginChatGpt": machine.cancel_login,
    "logoutChatGpt": machine.logout,
    "getUserAgent": machine.agent,
    "userInfo": machine.user_info,
    "getUserSavedConfig": machine.saved_config,
    "setDefaultModel": machine.set_default_model,
    "execOneOffCommand": machine.execute,
}
