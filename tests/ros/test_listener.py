"""A topic with a thread of its own: every message, in order, without an executor, and an end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from rclpy.serialization import deserialize_message
from std_msgs.msg import UInt32
from visual_irl_ros import qos
from visual_irl_ros.listener import Listener


@pytest.mark.timeout(60)
def test_messages_come_in_order_and_a_bad_one_ends_nothing(watcher: Any) -> None:
    got: list[int] = []
    threads: set[int] = set()

    def take(data: bytes) -> None:
        threads.add(threading.get_ident())
        got.append(deserialize_message(data, UInt32).data)
        if got[-1] == 3:
            raise ValueError("three")

    listener = Listener(watcher, UInt32, "numbers", take, qos.COMMAND)
    out = watcher.create_publisher(UInt32, "numbers", qos.COMMAND)
    assert watcher.wait(lambda: out.get_subscription_count() == 1, 20.0)

    def sent(*numbers: int) -> bool:
        """Send them, as many at once as may wait; whether all came. Nobody spins the node meanwhile."""
        for first in range(0, len(numbers), qos.COMMAND.depth):
            some = numbers[first : first + qos.COMMAND.depth]
            wanted, end = len(got) + len(some), time.monotonic() + 20.0
            for number in some:
                out.publish(UInt32(data=number))
            while len(got) < wanted and time.monotonic() < end:
                time.sleep(0.01)
        return len(got) >= len(numbers)

    assert sent(*range(20)) and got == list(range(20))
    assert len(threads) == 1 and threading.get_ident() not in threads
    listener.end()
    out.publish(UInt32(data=99))
    time.sleep(0.2)
    assert got == list(range(20))
    assert threads.isdisjoint(t.ident for t in threading.enumerate()), "its thread has ended"
