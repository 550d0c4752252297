"""Frames of a live camera for someone who may be slower: a thread reads, the newest frame wins, the others are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from visual_irl.types import RgbdFrame


class LatestFrame:
    """Iterate it for the newest frame each time; ends when the camera does. A context manager.

    The camera is opened, read and closed in the reader's own thread, and what it raises is raised here. Without a camera frames
    are given with `offer`, from any thread, until the context ends.
    """

    def __init__(self, camera: Callable[[], Iterable[RgbdFrame]] | None = None) -> None:
        self._camera = camera
        self._newest: RgbdFrame | None = None
        self._failure: BaseException | None = None
        self._came = threading.Condition()
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
            self.received += 1
            self.dropped += self._newest is not None
            self._newest = frame
            self._came.notify()

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
