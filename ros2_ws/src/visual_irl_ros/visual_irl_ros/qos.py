"""Quality of service of every endpoint, by what flows there."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


NEWEST = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
"""Keypoints, objects and joint states: only the newest counts, a late one is worthless."""
COMMAND = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 1)
"""Joint targets: the newest, and it must arrive."""
LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1)
"""Motions of skills and the safety state: whoever comes later gets the last one."""
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
