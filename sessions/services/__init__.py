"""What can be done with sessions. Each function is one transaction, and doing it twice is harmless."""

from __future__ import annotations

from sessions.services.bulk import AT_ONCE, archive_sessions, delete_sessions, restore_sessions, tag_sessions
from sessions.services.epochs import repack, store_epochs
from sessions.services.history import metric_histories, metric_history
from sessions.services.items import ItemResult, Status
from sessions.services.lifecycle import finish, heartbeat, note_silence, open_session, update_session
from sessions.services.logs import store_logs
from sessions.services.models import register_model
from sessions.services.packed import packed_epochs

__all__ = [
    "AT_ONCE",
    "ItemResult",
    "Status",
    "archive_sessions",
    "delete_sessions",
    "finish",
    "heartbeat",
    "note_silence",
    "metric_histories",
    "metric_history",
    "open_session",
    "packed_epochs",
    "register_model",
    "repack",
    "restore_sessions",
    "store_epochs",
    "store_logs",
    "tag_sessions",
    "update_session",
]
