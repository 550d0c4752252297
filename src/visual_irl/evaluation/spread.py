"""The same work on many inputs, in processes of this machine or of a Ray cluster; a killed worker loses no result.

Work and inputs are pickled between processes that run the same code: this is no file format, and nothing that was received
from elsewhere goes that way.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from visual_irl.errors import ClusterUnreachable, InvalidInput, LearningFailed, MissingDependency, pip_install
from visual_irl.io.artifacts import code_digest

T = TypeVar("T")
MOST_DEATHS = 5
"""Times that workers may be killed before the work is given up."""
DEAD = (
    "workers were killed {} times (too little memory?); run the same command again, with fewer --workers: what had finished "
    "is kept"
)


def spread(
    work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int = 1, address: str | None = None
) -> Iterator[tuple[int, T]]:
    """(index of a job, `work(*job)`), as they finish.

    Args:
        work: A function that a fresh process can import.
        jobs: Its arguments.
        workers: How many are under way at once.
        address: Of a Ray cluster on which they are spread ("HOST:PORT", "auto", or "local" for one that is started here);
            processes of this machine when not given.

    Raises:
        LearningFailed: workers were killed more than `MOST_DEATHS` times.
        MissingDependency, ClusterUnreachable: there is no Ray, or no cluster at the address.
        InvalidInput: fewer than one worker, or a worker runs other code.
    """
    if workers < 1:
        raise InvalidInput(f"{workers} workers; give at least 1")
    return _in_processes(work, jobs, workers) if address is None else _on_cluster(work, jobs, workers, address)


def _in_processes(work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[tuple[int, T]]:
    todo, deaths = set(range(len(jobs))), 0
    while todo:
        try:
            with processes(min(workers, len(todo))) as submit:
                futures = {submit(work, *jobs[i]): i for i in sorted(todo)}
                for future in as_completed(futures):
                    result = future.result()
                    todo.remove(futures[future])
                    yield futures[future], result
        except BrokenProcessPool:  # one worker was killed, and the pool with it: what was running is begun again
            deaths += 1
            if deaths > MOST_DEATHS:
                raise LearningFailed(DEAD.format(deaths)) from None


@contextmanager
def processes(workers: int) -> Iterator[Callable[..., Future[Any]]]:
    """`submit(work, *job)` to processes that end with this one, however it ends; an error here does not wait for them.

    They are fresh ones: torch's optimisers clash with off-screen OpenGL in one process.
    """

    def submit(work: Callable[..., Any], *job: Any) -> Future[Any]:
        with _uninterrupted():
            return pool.submit(work, *job)

    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        yield submit
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes that are begun in here never hear of Ctrl-C, which a terminal sends to all; this one does, after the block."""
    resource_tracker.ensure_running()  # it lets the signal through when it begins itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Begin to watch the process that began this one: a worker would wait for its next job for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_cluster(work: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int, address: str) -> Iterator[tuple[int, T]]:
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingDependency(f"--address spreads work over a Ray cluster: {pip_install('cluster')}") from None
    _require_listener(address)
    try:
        more: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False, **more)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _unreachable(address, str(error).splitlines()[0]) from error
    remote = ray.remote(num_cpus=1, max_retries=MOST_DEATHS)(_same_code)
    waiting = list(range(len(jobs)))[::-1]
    running: dict[Any, int] = {}
    code = code_digest()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                i = waiting.pop()
                running[remote.remote(code, work, *jobs[i])] = i
            for done in ray.wait(list(running))[0]:
                try:
                    result = ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause or error) from None
                except ray.exceptions.RayError as error:  # its worker or machine died once more than it is begun again
                    raise LearningFailed(f"{DEAD.format(MOST_DEATHS + 1)} ({str(error).splitlines()[0]})") from None
                yield running.pop(done), result
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Ray itself waits for minutes where nobody listens."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, why: str) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"no Ray cluster at '{address}' ({why}); start one with `ray start --head` (with the same RAY_AUTH_MODE as here), or "
        "leave --address out for processes of this machine"
    )


def _same_code(code: str, work: Callable[..., T], *job: Any) -> T:
    if code_digest() != code:
        raise InvalidInput("a worker of the cluster runs other code than this machine; install the same version on both")
    return work(*job)
