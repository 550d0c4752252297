"""A topic whose messages are taken when they are needed, and that wakes nobody until then.

A robot tells its state 500 times a second; a node that needs it 30 times a second would spend most of its time in its executor.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup

from visual_irl_ros import qos


class Unheard(CallbackGroup):
    """No executor waits for what is in this group."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing begins here."""


class Newest:
    """The newest message of a topic, still serialised; `qos.NEWEST` keeps one, a deeper profile those before it, too."""

    def __init__(self, node: Any, kind: Any, topic: str, profile: Any = qos.NEWEST) -> None:
        self._subscription = node.create_subscription(
            kind, topic, lambda data: None, profile, raw=True, callback_group=Unheard()
        )

    def take(self) -> bytes | None:
        """Its bytes; None when nothing came since the last time."""
        taken = self.take_with_time()
        return None if taken is None else taken[0]

    def take_with_time(self) -> tuple[bytes, int] | None:
        """Its bytes, and when the middleware of this process received them [ns]."""
        with self._subscription.handle:
            taken = self._subscription.handle.take_message(self._subscription.msg_type, True)
        return None if taken is None else (bytes(taken[0]), int(taken[1]["received_timestamp"]))
