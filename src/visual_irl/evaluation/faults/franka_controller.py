"""A Franka controller to try things on: franky-sim, which speaks libfranka's protocol, in a process of its own.

What franky-sim leaves out and a controller does, by Franka's documentation of its control interface (FCI), is added here:

- the internal joint controller follows speed and acceleration of the targets too, so that the arm does not lag behind them;
- a command that is missing is made up for with constant acceleration, one that jumps or is too fast aborts the motion;
- when no new command came for 20 cycles the motion is aborted (`communication_constraints_violation`);
- a reflex or a user stop brakes the arm by itself, within its limits, aborts the motion, and stays until error recovery.

And what can go wrong between the two: states that do not come, come late or out of order, a cut, a push, a joint that is
blocked, measurements that are wrong. Run as a program,
`python -m visual_irl.evaluation.faults.franka_controller ROBOT ADDRESS Q1 ... Q7`,
it prints `ready`, and takes lines on its standard input:

    fault KIND AT JOINT      KIND happens AT seconds after the next motion began
    heal                     it goes away
    hold WIDTH               something is between the fingers from now on
    time                     prints seconds since the last motion began, -1 before that, and the speed of the fastest joint
    save FILE                writes what its physics did: times, q, qd, and the times and q of all commands
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from franky_sim import SimulationServer
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    BaseCommand,
    MoveStatus,
    RobotCommand,
    RobotMode,
    UDPCommand,
)
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_robot_state import FrankaRobotState
from franky_sim.mujoco_simulator import FrankaMujocoRobot, MujocoSimulator
from numpy import ndarray

from visual_irl.execution.braking import Brake
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel

CYCLE = 0.001
"""[s]"""
STIFFNESS, DAMPING = (4500.0, 4500.0, 3500.0, 3500.0, 1000.0, 1000.0, 1000.0), (130.0, 130.0, 100.0, 80.0, 20.0, 20.0, 20.0)
"""Of the joints [Nm/rad], [Nms/rad]: franky-sim's damping of the wrist is unstable at its own step once the arm moves fast."""
LOST = 20
"""Cycles without a new command after which a controller aborts the motion."""
REFLEX, TOO_FAST, JUMP, CONSTRAINTS = 6, 13, 14, 25
"""`joint_reflex`, `joint_motion_generator_velocity_limits_violation`, `joint_motion_generator_velocity_discontinuity` and
`communication_constraints_violation` in the state's flags (libfranka-common's research_interface)."""
EXCESS = 1.1
"""Factor over the limits of speed and acceleration beyond which a target is refused."""
PATIENCE = 0.02
"""How long a cycle waits for the client's answer; a real controller does not wait, but runs on a real-time machine [s]."""
PUSH, PUSH_TIME = 1.6, 0.1
"""Torque of a push over the joint's limit, and how long it lasts [s]."""
WIRE = ("state stream frozen", "states delayed", "states reordered", "connection cut")
"""Faults of the network."""
HOLD_BACK = {"states delayed": 0.1, "states reordered": 0.06}
"""How long states are held back [s]; reordered ones then come newest first."""


class Wire:
    """The socket by which states leave, on which they can be lost, late, or out of order."""

    def __init__(self, inner: socket.socket, controller: Controller) -> None:
        self._inner, self._controller = inner, controller
        self._held: deque[tuple[float, bytes, Any]] = deque()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sendto(self, data: bytes, address: Any) -> None:
        kind, now = self._controller.active, time.monotonic()
        if kind in ("state stream frozen", "connection cut"):
            return
        if kind not in HOLD_BACK:
            self._held.clear()
            self._inner.sendto(data, address)
            return
        self._held.append((now, data, address))
        while self._held and now - self._held[0][0] >= HOLD_BACK[kind]:
            if kind == "states delayed":
                self._inner.sendto(*self._held.popleft()[1:])
            else:
                while self._held:
                    self._inner.sendto(*self._held.pop()[1:])


class Controller(FrankaRobotServer):
    """One arm's server, with reflexes."""

    def __init__(self, arm: FrankaMujocoRobot, address: str, robot: RobotModel) -> None:
        self.arm, self.model = arm, robot
        self.kind, self.at, self.joint, self.healed = "", np.inf, 0, False
        self.mode, self.error = RobotMode.kIdle, -1
        self.tick, self.began = 0, -1
        self.history: list[ndarray] = []
        self.commands: list[ndarray] = []
        self._silent, self._asked, self._fresh = 0, False, False
        self._last, self._before = np.zeros(7), np.zeros((3, 7))
        self._push = np.zeros(7)
        self._brake: Brake | None = None
        self._braking = 0.0
        super().__init__(arm, [address])

    @property
    def motion_time(self) -> float:
        """Since the last motion began [s]."""
        return -1.0 if self.began < 0 else CYCLE * (self.tick - self.began)

    @property
    def active(self) -> str:
        """The fault that is there now."""
        return self.kind if self.motion_time >= self.at and not self.healed else ""

    def start_motion(self, *args: Any) -> None:
        if self.mode is not RobotMode.kIdle:
            raise ValueError(f"not while the robot is in {self.mode.name}")
        super().start_motion(*args)
        self.began = self.tick if self.began < 0 else self.began
        self._silent, self._asked, self._last = 0, False, np.array(self.arm.state.q_d)
        self._before = np.array([self._last, np.zeros(7), np.zeros(7)])
        self._FrankaRobotServer__current_control_command = UDPCommand(q_c=tuple(self._last))  # it would begin at the measured q

    def recovered(self) -> None:
        """Error recovery, which a person asked for."""
        if self.mode is RobotMode.kReflex:
            self.mode, self.error = RobotMode.kIdle, -1

    def abort(self, mode: RobotMode, error: int) -> None:
        """The robot stops by itself: it brakes within its limits from what it was commanded."""
        if self.mode is not RobotMode.kIdle:
            return
        self.mode, self.error = mode, error
        self._brake, self._braking = Brake(self.model, *self._before), 0.0
        motion = self.current_motion_id
        self.reset_current_motion_id()
        self.stop_motion(send_preemption_signal=False)
        if motion and self._tcp_socket is not None:
            status = MoveStatus.kReflexAborted if mode is RobotMode.kReflex else MoveStatus.kEmergencyAborted
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, status)

    def send_state(self) -> None:
        super().send_state()
        self._asked = bool(self.current_motion_id)

    def _reset_state(self) -> None:
        if self.current_motion_id:  # the client is gone in the middle of a motion
            self.abort(RobotMode.kReflex, CONSTRAINTS)
        super()._reset_state()

    def _pre_process_commands(self) -> None:
        super()._pre_process_commands()
        self._fresh = False

    def _process_udp_commands(self) -> None:
        deadline = time.monotonic() + (PATIENCE if self._asked and self.active not in WIRE else 0.0)
        while True:
            super()._process_udp_commands()
            if self._fresh or time.monotonic() >= deadline:
                return
            time.sleep(1e-4)

    def _setup_udp_connection(self, port: int) -> None:
        super()._setup_udp_connection(port)
        self._FrankaServer__udp_socket: Any = Wire(self._FrankaServer__udp_socket, self)  # franky-sim has no other way to it

    def _handle_udp_command(self, data: bytes) -> None:
        command = UDPCommand.from_bytes(data)
        late = self._FrankaServer__message_id - command.message_id > LOST
        if self.active == "connection cut" or late or self.mode is not RobotMode.kIdle:
            return
        self._silent, self._fresh = 0, True
        if self.current_motion_id and not command.motion_generation_finished:
            if self.commands and self.commands[-1][0] == self.motion_time:
                self.commands.pop()  # of several in one cycle the last counts
            self.commands.append(np.array([self.motion_time, *command.q_c]))
        super()._handle_udp_command(data)
        self._last = np.array(command.q_c)

    def _post_process_commands(self) -> None:
        self._strike()
        if self.mode is RobotMode.kIdle and self.current_motion_id:
            self._silent += 1
            if self._silent > LOST:
                self.abort(RobotMode.kReflex, CONSTRAINTS)
        if self._brake is not None:
            self._braking += CYCLE
            q, qd, qdd = self._brake.at(self._braking)
            self._drive(q, qd, qdd)
            self._FrankaRobotServer__holding_q = tuple(q)
            if self._braking >= self._brake.duration:
                self._brake = None
            return
        if not self.current_motion_id:
            super()._post_process_commands()
            return
        q, speed, acceleration = self._before
        if not self._fresh:  # a command that is missing is made up for with constant acceleration
            self._last = q + CYCLE * (speed + CYCLE * acceleration)
        target = np.array([self._last, (self._last - q) / CYCLE, ((self._last - q) / CYCLE - speed) / CYCLE])
        for row, limit, error in zip(target[1:], (self.model.velocity, self.model.acceleration), (TOO_FAST, JUMP), strict=True):
            if not (np.abs(row) <= EXCESS * limit).all():
                self.abort(RobotMode.kReflex, error)
                self._drive(*self._before)
                return
        self._before = target
        self._drive(*target)

    def _drive(self, q: ndarray, qd: ndarray, qdd: ndarray) -> None:
        """Towards a target that moves: led, so that the arm need not lag for franky-sim's damping and the arm's inertia."""
        model, data, dof = self.arm.model, self.arm.data, self.arm._dof_addrs
        acceleration, torque = np.zeros(model.nv), np.zeros(model.nv)
        acceleration[dof] = qdd
        mujoco.mj_mulM(model, data, torque, acceleration)
        self.arm.joint_position_control(q + (self.arm.kv * qd + torque[dof]) / self.arm.kp)

    def _strike(self) -> None:
        kind, chosen = self.active, np.arange(7) == self.joint
        pushed = kind == "external push" and self.motion_time < self.at + PUSH_TIME
        self._push = np.where(chosen & pushed, PUSH * self.model.effort, 0.0)
        if kind == "joint against a stop" and not hasattr(self, "_blocked"):
            self._blocked = True
            data, model = self.arm.data, self.arm.model
            j = int(model.dof_jntid[self.arm._dof_addrs[self.joint]])
            q, qd = data.qpos[self.arm._qpos_addrs[self.joint]], data.qvel[self.arm._dof_addrs[self.joint]]
            model.jnt_range[j, 1 if qd > 0.0 else 0] = q
            model.jnt_solref[j] = (0.004, 1.0)
        elif kind == "protective stop":
            self.abort(RobotMode.kReflex, REFLEX)
        elif kind == "emergency stop":
            self.abort(RobotMode.kUserStopped, -1)
        if self.healed and self.mode is RobotMode.kUserStopped:
            self.mode = RobotMode.kIdle  # the device was released

    @property
    def robot_state(self) -> FrankaRobotState:
        state: FrankaRobotState = super().robot_state
        q, chosen = np.array(state.q), np.arange(7) == self.joint
        if self.active == "joint beyond its limit":
            q = np.where(chosen, self.model.upper + 0.02, q)
        elif self.active == "state turns NaN":
            q = np.where(chosen, np.nan, q)
        mode = state.robot_mode if self.mode is RobotMode.kIdle else self.mode
        flags = tuple(k == self.error for k in range(41))
        held = state.q_d if not self.current_motion_id else tuple(self._before[0])
        return state.replace(q=tuple(q), q_d=held, robot_mode=mode, errors=flags, reflex_reason=flags)

    def press(self, simulator: MujocoSimulator) -> None:
        """Push the joint that is to be pushed, beside what franky-sim's controller does."""
        self.arm.data.qfrc_applied[self.arm._dof_addrs] += self._push

    def record(self, simulator: MujocoSimulator) -> None:
        """Keep what the physics did in this cycle."""
        inner = self.arm.inner_state
        self.history.append(np.array([self.motion_time, *inner.q, *inner.dq]))
        self.tick += 1


def _recover(command: AutomaticErrorRecoveryCommand, server: Controller) -> None:
    server.recovered()
    command.reply(0 if server.mode is RobotMode.kIdle else 3)


def _obey(controller: Controller, line: str) -> None:
    word, *rest = line.split()
    if word == "fault":
        controller.kind, controller.at, controller.joint = " ".join(rest[:-2]), float(rest[-2]), int(rest[-1])
        controller.began = -1
    elif word == "heal":
        controller.healed = True
    elif word == "time":
        fastest = max(abs(x) for x in controller.arm.inner_state.dq)
        print(controller.motion_time, fastest, flush=True)
        return
    elif word == "hold":
        model = controller.arm.model
        for dof in controller.arm._finger_dof_addrs:
            model.jnt_range[model.dof_jntid[dof], 0] = 0.5 * float(rest[0])
    elif word == "save":
        with Path(rest[0]).open("wb") as file:
            np.savez(file, history=np.array(controller.history), commands=np.array(controller.commands))
    print("done", flush=True)


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main() -> None:
    """Serve until the standard input ends."""
    robot, address, q = load_robot(sys.argv[1]), sys.argv[2], [float(x) for x in sys.argv[3:10]]
    AutomaticErrorRecoveryCommand.handle = _recover
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    with MujocoSimulator() as simulator:
        controller = Controller(simulator.add_robot(initial_q=q, kp=STIFFNESS, kv=DAMPING), address, robot)
        simulator.register_pre_step_callback(controller.press)
        simulator.register_post_step_callback(controller.record)
        server = SimulationServer(simulator)
        server.robot_servers.append(controller)
        controller.init()
        simulator.start()
        print("ready", flush=True)
        while True:
            server.run_once()
            while not lines.empty():
                line = lines.get()
                if not line:
                    controller.cleanup()
                    return
                _obey(controller, line)


if __name__ == "__main__":
    main()
