"""Frames of a live camera for someone who may be slower: a thread reads, the newest frame wins, the others are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from visual_irl.types import RgbdFrame


class LatestFrame:
    """Iterate it for the newest frame each time; ends when the camera does. A context manager.

    The camera is opened, read and closed in the reader's own thread. What it raises is raised here.
    """

    def __init__(self, camera: Callable[[], Iterable[RgbdFrame]]) -> None:
        self._camera = camera
        self._newest: RgbdFrame | None = None
        self._failure: BaseException | None = None
        self._came = threading.Condition()
        self._stopped = self._ended = False
        self.received = 0
        """Frames that the camera gave."""
        self.dropped = 0
        """Frames that a newer one replaced before anybody took them."""
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)

    def __enter__(self) -> LatestFrame:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped = True
        self._thread.join(5.0)  # a camera that hangs is left behind: the thread is a daemon

    def __iter__(self) -> Iterator[RgbdFrame]:
        while True:
            with self._came:
                self._came.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
                if frame is None:
                    if self._failure is not None:
                        raise self._failure
                    return
            yield frame

    def _read(self) -> None:
        try:
            frames = iter(self._camera())
            try:
                for frame in frames:
                    if self._stopped:
                        break
                    with self._came:
                        self.received += 1
                        self.dropped += self._newest is not None
                        self._newest = frame
                        self._came.notify()
            finally:
                if hasattr(frames, "close"):
                    frames.close()  # a generator: lets go of the camera
        except BaseException as error:  # handed to whoever iterates
            self._failure = error
        finally:
            with self._came:
                self._ended = True
                self._came.notify()
