"""What a node lets in: messages of the expected frame that are newer than the last and not stale. What is refused is counted.

Pure: no ROS here, so that it can be tested anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from visual_irl.errors import InvalidInput, VisualIrlError

T = TypeVar("T")
FUTURE_NS = 100_000_000
"""A stamp further ahead of the clock than this is wrong [ns]."""


def head_of_msg(message: Any) -> tuple[int, str]:
    """Stamp [ns] and frame of a message with a header."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec, message.header.frame_id


class Gate:
    """One subscription's door. `refused` counts by error, `reason` is the last one, `silent` tells when input stopped.

    `convert` takes a message to the library's terms or raises; `head` gives its stamp [ns] and frame. What is latched may be of
    any age: `max_age` [s] is infinite then.
    """

    def __init__(
        self,
        convert: Callable[[Any], T],
        max_age: float,
        frames: tuple[str, ...] | None = None,
        head: Callable[[Any], tuple[int, str]] = head_of_msg,
    ) -> None:
        self._convert, self._max_age, self._frames, self._head = convert, max_age, frames, head
        self._last_ns: int | None = None
        self._heard_ns: int | None = None
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.reason = ""

    def admit(self, message: Any, now_ns: int) -> Any | None:
        """The message in the library's terms; None when it is refused."""
        try:
            stamp = self._check_header(message, now_ns)
            value = self._convert(message)
        except (VisualIrlError, ArithmeticError, TypeError, IndexError, ValueError) as error:
            self.refused[type(error).__name__] += 1
            self.reason = str(error)
            return None
        self._last_ns, self._heard_ns = stamp, now_ns
        self.accepted += 1
        return value

    def _check_header(self, message: Any, now_ns: int) -> int:
        stamp, frame = self._head(message)
        if self._frames is not None and frame not in self._frames:
            raise InvalidInput(f"frame '{frame}' is not one of {', '.join(self._frames)}")
        if not -FUTURE_NS <= now_ns - stamp <= 1e9 * self._max_age:
            raise InvalidInput(
                f"stamp is {1e-9 * (now_ns - stamp):.3f} s old, must lie between {-1e-9 * FUTURE_NS} and "
                f"{self._max_age} s; check the clocks, or use_sim_time"
            )
        if self._last_ns is not None and stamp <= self._last_ns <= now_ns + FUTURE_NS:  # a clock that was set back is believed
            raise InvalidInput(f"stamp {stamp} ns is not newer than the one before ({self._last_ns} ns)")
        return stamp

    def silent(self, now_ns: int, limit: float) -> bool:
        """Whether nothing has been let in for `limit` [s], or ever."""
        return self._heard_ns is None or now_ns - self._heard_ns > round(1e9 * limit)

    def counts(self) -> dict[str, str]:
        """For diagnostics."""
        refused = {f"refused {name}": str(n) for name, n in self.refused.items()}
        return {"accepted": str(self.accepted), **refused, **({"last refusal": self.reason} if self.reason else {})}
