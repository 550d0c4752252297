"""A Robotiq URCap as a client sees it: its text protocol on port 63352, answers without an end of line. Run as a program.

Arguments: address. Lines on standard input change what it does: `thing N` (something stops closing fingers at position N),
`free`, `cut`, and `asked` prints the last `SET POS` order. It prints `ready`.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

SPEED = 600.0  # register units a second
state = {"STA": 0, "POS": 3, "OBJ": 3, "FLT": 0, "PRE": 3, "ACT": 0}
thing = [256]
asked = [""]
clients: list[socket.socket] = []


def move() -> None:
    """The fingers: towards PRE, stopped by the thing between them."""
    position, last = float(state["POS"]), time.monotonic()
    while True:
        time.sleep(0.005)
        now = time.monotonic()
        step, last = SPEED * (now - last), now
        goal = min(state["PRE"], 230, thing[0]) if state["PRE"] > position else max(state["PRE"], 3)
        position += max(-step, min(step, goal - position))
        state["POS"] = round(position)
        stopped = abs(goal - position) < 0.5
        state["OBJ"] = 0 if not stopped else 2 if state["PRE"] > goal and goal == thing[0] else 3


def activate() -> None:
    state["STA"] = 1
    time.sleep(0.1)
    state["STA"] = 3


def answer(line: str) -> str:
    word, *rest = line.split()
    if word == "GET":
        return f"{rest[0]} {state[rest[0]]}"
    if rest[0] == "ACT":
        threading.Thread(target=activate, daemon=True).start()
    elif rest[0] == "POS" and state["STA"] == 3:
        asked[0] = line
        time.sleep(0.02)  # the controller hands it on to the gripper
        state["PRE"], state["OBJ"] = int(rest[1]), 0
    return "ack"


def serve(client: socket.socket) -> None:
    buffer = b""
    with contextlib.suppress(OSError):
        while data := client.recv(1024):
            buffer += data
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                client.sendall(answer(line.decode()).encode())


def accept(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            clients.append(client)
            threading.Thread(target=serve, args=(client,), daemon=True).start()


def main() -> None:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((sys.argv[1], 63352))
    server.listen(4)
    threading.Thread(target=move, daemon=True).start()
    threading.Thread(target=accept, args=(server,), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "thing":
            thing[0] = int(rest[0])
        elif word == "free":
            thing[0] = 256
        elif word == "cut":
            server.close()
            for client in clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                client.close()
        print(asked[0] if word == "asked" else "done", flush=True)


if __name__ == "__main__":
    main()
