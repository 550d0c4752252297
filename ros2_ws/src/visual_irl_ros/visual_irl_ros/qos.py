"""Quality of service of every endpoint, by what flows there."""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

LEASE = 1.0
"""Whoever offers a motion and is not heard of for so long is gone [s]."""


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int, **more: Any) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability, **more)


NEWEST = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
"""Joint states and objects: only the newest counts, a late one is worthless."""
FRAMES = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 4)
"""Keypoints: a late one is worthless, but every one is used; as many as come while a busy machine lets a process wait 0.1 s."""
COMMAND = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 4)
"""Joint targets: each must arrive, and be judged in its order."""
LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1)
"""The safety state: whoever comes later gets the last one."""
OFFER = _profile(
    ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1, liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(seconds=LEASE),
)  # fmt: skip
"""Motions of skills: latched, and the executor is told when the node that offered one is gone."""
STREAM = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 5)
"""Camera topics as a driver publishes them; a reliable publisher matches, too."""
STATIC = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 50)
"""/tf_static."""
RECORDED = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 60)
"""What is recorded: two seconds at 30 Hz may wait."""
CLOCK = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
"""/clock."""
DIAGNOSTICS = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 10)
"""/diagnostics."""
SERVICE = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 10)
"""Requests and replies."""
ACTION = {
    "goal_service_qos_profile": SERVICE, "result_service_qos_profile": SERVICE, "cancel_service_qos_profile": SERVICE,
    "feedback_pub_qos_profile": SERVICE, "status_pub_qos_profile": LATCHED,
}  # fmt: skip
"""An action's three services and two topics, as every client expects them."""
ACTION_CLIENT = {name.replace("_pub_", "_sub_"): profile for name, profile in ACTION.items()}
"""The other side of an action."""
