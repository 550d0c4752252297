"""How every node starts, reports its health, and ends within a second on SIGINT and SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from visual_irl.errors import VisualIrlError
from visual_irl_ros import qos

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Health = tuple[bytes, str, dict[str, str]]


class Reporter:
    """Publishes a node's health on /diagnostics once a second, and logs when it changes."""

    def __init__(self, node: Any, health: Callable[[], Health]) -> None:
        self._node, self._health, self._said = node, health, ""
        self._out = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._timer = node.create_timer(1.0, self.report)

    def report(self) -> None:
        """Publish once."""
        level, text, values = self._health()
        status = DiagnosticStatus(level=level, name=self._node.get_fully_qualified_name(), message=text)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._out.publish(message)
        if text != self._said:
            log = self._node.get_logger()
            log.info(text) if level == OK else log.warning(text)
            self._said = text


def run(make: Callable[[], Any]) -> None:
    """Spin the node that `make` returns until it is told to end; then call its `close`."""
    rclpy.init()
    node = None
    try:
        node = make()
        executor = MultiThreadedExecutor(num_threads=3)
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        if rclpy.ok():  # else the signal came while the executor built its next wait set
            raise
    except VisualIrlError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
