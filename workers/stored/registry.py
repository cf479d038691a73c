"""The methods of the catalog worker: name -> function."""

from __future__ import annotations

from collections.abc import Callable

from protocol.base import Wire
from protocol.link_calls import OFFERED_MODELS
from workers.stored import (
    configuration,
    feedback,
    history,
    inventory,
    metadata,
    offered,
    providers,
    receipts,
    search,
    skills,
    threads,
)
from workers.stored.request import StoredRequest

__all__ = ["METHODS", "StoredMethod"]

StoredMethod = Callable[[StoredRequest], Wire]
"""Returns the result. What it raises is the answer too: RpcError as it is, our other errors by their text.

It may block: it has the process for itself, one request at a time.
"""

METHODS: dict[str, StoredMethod] = {
    "thread/list": threads.list_,
    "thread/read": threads.read,
    "thread/search": search.search,
    "thread/turns/list": history.turns_list,
    "thread/items/list": history.items_list,
    "thread/items/read": history.items_read,
    "thread/metadata/update": metadata.update,
    "thread/readState/update": receipts.update,
    "thread/delete": threads.delete,
    "thread/archive": threads.archive,
    "thread/unarchive": threads.unarchive,
    "thread/name/set": threads.set_name,
    "config/read": configuration.read,
    "config/value/write": configuration.write_value,
    "config/batchWrite": configuration.write_batch,
    "configRequirements/read": configuration.read_requirements,
    "modelProvider/list": providers.list_,
    "modelProvider/capabilities/read": providers.read_capabilities,
    "experimentalFeature/list": inventory.list_features,
    "permissionProfile/list": inventory.list_permission_profiles,
    "collaborationMode/list": inventory.list_collaboration_modes,
    "hooks/list": inventory.list_hooks,
    "app/list": inventory.list_apps,
    "skills/list": skills.list_,
    "feedback/upload": feedback.upload,
    "feedback/save": feedback.save,
    OFFERED_MODELS: offered.list_,
}
