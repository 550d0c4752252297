"""A UR controller as ur-rtde's receive client sees one: RTDE version 2, outputs only. Run as a program of its own.

Arguments: address. Lines on standard input change what it does: `safety N`, `mode N`, `freeze`, `go`, `cut`. It prints `ready`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time

DOUBLES = {"timestamp", "speed_scaling", "target_speed_fraction"}
INTS = {"robot_mode": 7, "safety_mode": 1}
UNSIGNED = {"runtime_state": 2, "robot_status_bits": 3, "safety_status_bits": 1}
Q = (-0.308, -1.743, 1.706, -1.535, -1.5707963, -1.879)
POSE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
state = {"safety_mode": 1, "robot_mode": 7, "frozen": 0}
clients: list[socket.socket] = []


def kind(name: str) -> str:
    if name in DOUBLES:
        return "DOUBLE"
    if name in INTS:
        return "INT32"
    return "UINT32" if name in UNSIGNED else "VECTOR6D"


def value(name: str, t: float, pose: tuple[float, ...]) -> bytes:
    if name in DOUBLES:
        return struct.pack(">d", t if name == "timestamp" else 0.5 if name == "speed_scaling" else 1.0)
    if name in INTS:
        return struct.pack(">i", state[name])
    if name in UNSIGNED:
        return struct.pack(">I", UNSIGNED[name])
    return struct.pack(">6d", *(pose if "TCP" in name else Q if name.endswith("_q") else (0.0,) * 6))


def send(client: socket.socket, letter: str, content: bytes) -> None:
    client.sendall(struct.pack(">HB", 3 + len(content), ord(letter)) + content)


def pump(client: socket.socket, names: list[str], running: threading.Event, pose: tuple[float, ...]) -> None:
    began = time.monotonic()
    while True:
        running.wait()
        t = time.monotonic() - began
        try:
            if not state["frozen"]:
                send(client, "U", b"\x01" + b"".join(value(n, t, pose) for n in names))
        except OSError:
            return
        time.sleep(0.004)


def serve(client: socket.socket, pose: tuple[float, ...]) -> None:
    buffer, running = b"", threading.Event()
    while True:
        try:
            data = client.recv(4096)
        except OSError:
            return
        if not data:
            return
        buffer += data
        while len(buffer) >= 3:
            size, letter = struct.unpack(">HB", buffer[:3])
            if len(buffer) < size:
                break
            content, buffer, letter = buffer[3:size], buffer[size:], chr(letter)
            if letter == "V":
                send(client, "V", b"\x01")
            elif letter == "v":
                send(client, "v", struct.pack(">IIII", 5, 21, 0, 0))
            elif letter == "O":
                names = content[8:].decode().split(",")
                send(client, "O", b"\x01" + ",".join(kind(n) for n in names).encode())
                threading.Thread(target=pump, args=(client, names, running, pose), daemon=True).start()
            elif letter in "SP":
                (running.set if letter == "S" else running.clear)()
                send(client, letter, b"\x01")


def accept(server: socket.socket, pose: tuple[float, ...]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        clients.append(client)
        threading.Thread(target=serve, args=(client, pose), daemon=True).start()


def main() -> None:
    pose = tuple(float(x) for x in sys.argv[2:8]) or POSE
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((sys.argv[1], 30004))
    server.listen(4)
    threading.Thread(target=accept, args=(server, pose), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word in ("safety", "mode"):
            state["safety_mode" if word == "safety" else "robot_mode"] = int(rest[0])
        elif word in ("freeze", "go"):
            state["frozen"] = int(word == "freeze")
        elif word == "cut":
            server.close()
            for client in clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                client.close()
        print("done", flush=True)


if __name__ == "__main__":
    main()
