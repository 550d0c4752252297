"""A topic with a thread of its own: what comes is handed on at once, past the node's executor.

rclpy's executor builds its list of what to wait for anew, in Python, at each message, and hands the message to another thread,
which then waits for the interpreter. Where other processes keep every core busy each of these handovers may wait for a core:
messages lay 20 to 35 ms between the middleware and the callback, one in twenty of them, and 0.6 ms in the median.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy

from visual_irl_ros.newest import Unheard
from visual_irl_ros.priority import prompt
from visual_irl_ros.runtime import RCLError, survived


class Listener:
    """Gives `take` the bytes of each message of a topic, one after the other, until `end`."""

    def __init__(self, node: Any, kind: Any, topic: str, take: Callable[[bytes], None], profile: Any) -> None:
        self._node, self._take, self._ended = node, take, threading.Event()
        self._subscription = node.create_subscription(
            kind, topic, lambda data: None, profile, raw=True, callback_group=Unheard()
        )
        self._told = GuardCondition(None, None, context=node.context)
        self._thread = threading.Thread(target=self._listen, name=topic[-15:], daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        topic, told, context = self._subscription.handle, self._told.handle, self._node.context.handle
        # what is suppressed is raised where the node is told to end between two of these lines
        with prompt(), suppress(RCLError), topic, told, context:
            waiting = _rclpy.WaitSet(1, 1, 0, 0, 0, 0, context)
            while rclpy.ok() and not self._ended.is_set():
                waiting.clear_entities()
                waiting.add_subscription(topic)
                waiting.add_guard_condition(told)
                waiting.wait(-1)
                while (taken := topic.take_message(self._subscription.msg_type, True)) is not None:
                    with survived(self._node):
                        self._take(bytes(taken[0]))

    def end(self) -> None:
        """Hand nothing on any more."""
        self._ended.set()
        self._told.trigger()
        self._thread.join(0.3)
