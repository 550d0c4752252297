"""A topic whose newest message is taken when it is needed, and that wakes nobody until then.

A robot tells its state 500 times a second; a node that needs it 30 times a second would spend most of its time in its executor.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup

from visual_irl_ros import qos


class _Unheard(CallbackGroup):
    """No executor waits for what is in this group."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing begins here."""


class Newest:
    """The newest message of a topic, still serialised; `qos.NEWEST` keeps one."""

    def __init__(self, node: Any, kind: Any, topic: str) -> None:
        self._subscription = node.create_subscription(
            kind, topic, lambda data: None, qos.NEWEST, raw=True, callback_group=_Unheard()
        )

    def take(self) -> bytes | None:
        """Its bytes; None when nothing came since the last time."""
        with self._subscription.handle:
            taken = self._subscription.handle.take_message(self._subscription.msg_type, True)
        return None if taken is None else bytes(taken[0])
