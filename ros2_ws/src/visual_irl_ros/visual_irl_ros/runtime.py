"""How every node starts, reports its health, and ends within a second on SIGINT and SIGTERM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.signals import SignalHandlerOptions, install_signal_handlers

from visual_irl.errors import VisualIrlError
from visual_irl_ros import qos
from visual_irl_ros.priority import prompt_middleware
from visual_irl_ros.transport import without_shared_memory

HANDOVER = 0.0005
"""How long a thread keeps the interpreter while another one waits for it [s]: with Python's 5 ms, what is ready to be published
would wait for whoever reads the next picture."""
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Health = tuple[bytes, str, dict[str, str]]


def publish(publisher: Any, message: Any) -> None:
    """Publish from a thread of one's own, which may still run when the node has been told to end."""
    try:
        publisher.publish(message)
    except RCLError:
        if rclpy.ok():
            raise


class Reporter:
    """Publishes a node's health on /diagnostics once a second, whatever a simulation's clock does, and logs changes."""

    def __init__(self, node: Any, health: Callable[[], Health]) -> None:
        self._node, self._health, self._said = node, health, ""
        self._out = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._timer = node.create_timer(1.0, self.report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def report(self) -> None:
        """Publish once."""
        level, text, values = self._health()
        twins = self._node.get_node_names_and_namespaces().count((self._node.get_name(), self._node.get_namespace())) - 1
        if twins > 0:
            values["other nodes of this name"] = str(twins)
            others = f"{twins} more of this name: end all but one, or give each a namespace"
            self._node.get_logger().warning(others, throttle_duration_sec=10.0)
        status = DiagnosticStatus(level=level, name=self._node.get_fully_qualified_name(), message=text)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._out.publish(message)
        if text != self._said:
            log = self._node.get_logger()
            log.info(text) if level == OK else log.warning(text)
            self._said = text


def run(make: Callable[[], Any], pictures: bool = False) -> None:
    """Spin the node that `make` returns until it is told to end; then call its `close` and leave the process.

    `pictures` says whether it takes such from other processes, see `transport`. A node that ends by itself has an `exit_code`.
    Nothing is torn down piece by piece after that: with the networks and compilers that a node loads it takes half a second.
    """
    code = 1
    sys.setswitchinterval(HANDOVER)
    if not pictures:
        without_shared_memory()
    try:
        code = _run(make, pictures)
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While inside, SIGINT and SIGTERM end the process at once, whatever its main thread does.

    A node that is being made may compile for a minute: Python's own handlers run between two of its main thread's instructions
    only, and an exception in the middle of a compiler leads to others. Nothing moves yet, and files are kept by renaming them.
    """
    told, telling = os.pipe()
    os.set_blocking(telling, False)

    def wait() -> None:
        if os.read(told, 1):
            os._exit(0)
        os.close(told)

    threading.Thread(target=wait, name="signals", daemon=True).start()
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.set_wakeup_fd(telling)  # written to when the signal comes, not when the main thread is free for it
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(telling)
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(make: Callable[[], Any], pictures: bool) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        with ended_by_signals():
            node = make()
            gc.collect()
            if not pictures:
                prompt_middleware()
            gc.freeze()  # what is loaded stays: to look through it again took 150 ms in the middle of a motion
        install_signal_handlers(SignalHandlerOptions.ALL)
        executor = MultiThreadedExecutor(num_threads=3)
        executor.add_node(node)
        while rclpy.ok():
            _spin(executor, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (VisualIrlError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return int(getattr(node, "exit_code", 0))


def _spin(executor: MultiThreadedExecutor, node: Any) -> None:
    """Wait once for something to do."""
    with survived(node):
        executor.spin_once()


@contextmanager
def survived(node: Any) -> Iterator[None]:
    """What a message leads to inside must not end the node: rclpy's own services for parameters, for one, raise on a type that
    does not exist."""
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        raise
    except Exception as error:
        if rclpy.ok():  # else the signal came while the executor built its next wait set
            node.get_logger().error(f"a message or request was not handled: {type(error).__name__}: {error}"[:500])
