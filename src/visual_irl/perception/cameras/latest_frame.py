"""Frames of a live camera for someone who may be slower: a thread reads, the newest frame wins, the others are counted.

Who is slower than the camera finds a frame that has waited for some time. To wait for the next one instead costs nothing of
how old, on average, the newest result is (Yates et al. 2021, "Age of information: an introduction and survey": the mean age
is the delay plus half the distance of results): with frames a time 1 apart and work of w, 1 < w < 2, taking what is there
gives 1/2 + w + w/2, waiting w + 1, which is less. Each result is then newer when it comes, and less is worked on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from visual_irl.types import RgbdFrame

FRESH = 0.005
"""A frame that has waited no longer than this is taken at once [s]."""
LATE = 1.5
"""A frame is no longer waited for when it has not come after so many times the distance of the last two ..."""
LONGEST = 0.15
"""... and never for longer than this since the last one [s]."""


class LatestFrame:
    """Iterate it for the newest frame each time; ends when the camera does. A context manager.

    A frame that is not fresh any more is given only where the next one does not come when it should.

    The camera is opened, read and closed in the reader's own thread, and what it raises is raised here. Without a camera frames
    are given with `offer`, from any thread, until the context ends.
    """

    def __init__(self, camera: Callable[[], Iterable[RgbdFrame]] | None = None) -> None:
        self._camera = camera
        self._newest: RgbdFrame | None = None
        self._failure: BaseException | None = None
        self._came, self._came_at, self._apart = threading.Condition(), 0.0, float("inf")
        self._stopped = self._ended = False
        self.received = 0
        """Frames that the camera gave."""
        self.dropped = 0
        """Frames that a newer one replaced before anybody took them."""
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True) if camera is not None else None

    def __enter__(self) -> LatestFrame:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped = True
        if self._thread is None:
            self._end()
        else:
            self._thread.join(5.0)  # a camera that hangs is left behind: the thread is a daemon

    def offer(self, frame: RgbdFrame) -> None:
        """The newest frame, in place of one that nobody has taken yet."""
        with self._came:
            now = time.monotonic()
            self._came_at, self._apart = now, now - self._came_at
            self.received += 1
            self.dropped += self._newest is not None
            self._newest = frame
            self._came.notify()

    def __iter__(self) -> Iterator[RgbdFrame]:
        while True:
            with self._came:
                self._came.wait_for(lambda: self._newest is not None or self._ended)
                self._refresh()
                frame, self._newest = self._newest, None
                if frame is None:
                    if self._failure is not None:
                        raise self._failure
                    return
            yield frame

    def _refresh(self) -> None:
        """Wait for the next frame where the one that is here has waited, and the next is due."""
        seen, waited, due = self.received, time.monotonic() - self._came_at, LATE * self._apart
        if FRESH < waited < due <= LONGEST:
            self._came.wait_for(lambda: self.received > seen or self._ended, due - waited)

    def _end(self) -> None:
        with self._came:
            self._ended = True
            self._came.notify()

    def _read(self) -> None:
        assert self._camera is not None
        try:
            frames = iter(self._camera())
            try:
                for frame in frames:
                    if self._stopped:
                        break
                    self.offer(frame)
            finally:
                if hasattr(frames, "close"):
                    frames.close()  # a generator: lets go of the camera
        except BaseException as error:  # handed to whoever iterates
            self._failure = error
        finally:
            self._end()
