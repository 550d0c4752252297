"""How a node's messages reach other processes, where the user has not chosen.

Fast DDS prefers memory that processes share. Who is killed while it reads there leaves its part in disorder, and who sends to
it next stands in `publish`: its stack was SharedMemTransport::send, push_discard, find_port, open_port, and no state of the arm
went out any more. (Where such a part is cleaned up a lock is taken twice besides: eProsima/Fast-DDS#6484.) UDP keeps nothing
that a killed process could leave behind, so nodes around an arm use it alone. Its buffers are too small for pictures: nodes
that take those keep the middleware's own choice, and the others reach them by UDP.
"""

from __future__ import annotations

import os

_CHOICES = ("FASTDDS_BUILTIN_TRANSPORTS", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""By which users choose a transport themselves; other middlewares know none of these."""


def without_shared_memory() -> None:
    """From here on, this process's messages go by UDP. Must be called before the first node is made."""
    if not any(os.environ.get(name) for name in _CHOICES):
        os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "UDPv4"
