"""How a node's messages reach other processes, where the user has not chosen.

Fast DDS prefers memory that processes share. Who is killed while it reads there leaves its part in disorder, and who sends to
it next stands in `publish`: its stack was SharedMemTransport::send, push_discard, find_port, open_port, and no state of the arm
went out any more. (Where such a part is cleaned up a lock is taken twice besides: eProsima/Fast-DDS#6484.) UDP keeps nothing
that a killed process could leave behind, so nodes around an arm use it alone. Its buffers are too small for pictures: nodes
that take those keep the middleware's own choice, and the others reach them by UDP.
"""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from rclpy.utilities import get_rmw_implementation_identifier

_PROFILES, _OLD_PROFILES = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
"""The second is the first's name up to Jazzy."""
_BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"
CHOICES = (_PROFILES, _OLD_PROFILES, _BUILTIN)
"""By which users choose a transport themselves."""
_RANGE, _LOCAL_ONLY = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"


def without_shared_memory() -> None:
    """From here on, this process's messages go by UDP. Must be called before the first node is made."""
    chosen = any(os.environ.get(name) for name in CHOICES)
    if chosen or not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        return
    if os.environ.get(_LOCAL_ONLY, "0") != "1" and os.environ.get(_RANGE) != "LOCALHOST":
        os.environ[_BUILTIN] = "UDPv4"
        return
    # limited to this machine, rmw_fastrtps insists on shared memory: the same limits, without it
    profile = Path(get_package_share_directory("visual_irl_ros")) / "config" / "fastdds_loopback.xml"
    if profile.is_file():
        old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
        os.environ |= {_OLD_PROFILES if old else _PROFILES: str(profile), _RANGE: "SYSTEM_DEFAULT", _LOCAL_ONLY: "0"}
