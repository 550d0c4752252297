"""The lifecycle node `executor`: executes the motion that a skill offers, after the guard approved it, and watches the arm."""

from __future__ import annotations

import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import RobotMotion

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import approve
from visual_irl.execution.streaming import Cycle, Phase, StreamConfig, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import ExecutionReport
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.controller_arm import ControllerArm
from visual_irl_ros.pacer import Pacer
from visual_irl_ros.ros2_control import Hardware
from visual_irl_ros.runtime import ERROR, OK, WARN, Health, Reporter, run

CODES = {
    "executed": RunSkill.Result.SUCCESS, "cancelled": RunSkill.Result.CANCELLED, "timed out": RunSkill.Result.TIMED_OUT,
    "fault": RunSkill.Result.FAULT,
}  # fmt: skip


class Executor(LifecycleNode):
    """It moves MuJoCo's arm, or one behind ros2_control, only while the node is active and a goal runs."""

    def __init__(self) -> None:
        super().__init__("executor")
        self._robot = load_robot(self.declare_parameter("robot", "ur5e").value)
        autostart = self.declare_parameter("autostart", False).value
        self._config = parameters.declare(self, StreamConfig())
        arm = self.declare_parameter("arm", "mujoco").value
        controller = self.declare_parameter("controller", "joint_trajectory_controller").value
        by = self.declare_parameter("controller_by", "topic").value
        self._hardware = Hardware(self, self._robot, arm, controller, by)
        self._arm: Arm | None = None
        self._offer: RobotMotion | None = None
        self._active, self._taken, self._busy, self._ended = False, False, threading.Lock(), threading.Event()
        group = ReentrantCallbackGroup()
        self._states = self.create_publisher(JointState, "joint_states", qos.NEWEST)
        self._safety = self.create_publisher(DiagnosticStatus, "~/safety_state", qos.LATCHED)
        self.create_subscription(RobotMotion, "motion", self._on_motion, qos.LATCHED)
        self.create_service(Trigger, "~/reset", self._on_reset, callback_group=group)
        self._server = ActionServer(
            self, RunSkill, "~/run_skill", self._execute, callback_group=group,
            goal_callback=self._on_goal, cancel_callback=self._on_cancel,
        )  # fmt: skip
        self._reporter = Reporter(self, self._health)
        self._thread = threading.Thread(target=self._idle, daemon=True)
        self._thread.start()
        if autostart:
            self.trigger_configure()
            self.trigger_activate()

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Make the arm."""
        self._arm = self._hardware.arm()
        self._executor = StreamingExecutor(self._arm, self._robot, config=self._config)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Accept goals."""
        self._active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Stop on the path; no goal is accepted any more."""
        self._active = False
        self._executor.cancel()
        return TransitionCallbackReturn.SUCCESS

    def _on_motion(self, message: RobotMotion) -> None:
        self._offer = message

    def _on_goal(self, goal: Any) -> GoalResponse:
        return GoalResponse.ACCEPT if self._active and not self._taken else GoalResponse.REJECT

    def _on_cancel(self, goal: Any) -> CancelResponse:
        self._executor.cancel()
        return CancelResponse.ACCEPT

    def _execute(self, goal: Any) -> RunSkill.Result:
        with self._busy:  # physics goes on in the execution, not in `_idle`
            self._taken = True
            offer = self._offer
            if offer is None or offer.skill != goal.request.skill:
                self._taken = False
                there = "none" if offer is None else f"'{offer.skill}'"
                return _failed(goal, RunSkill.Result.NO_MOTION, f"no motion of skill '{goal.request.skill}'; there is {there}")
            try:
                report = self._run(offer, goal)
            except (RefusedTrajectory, ValueError) as error:
                return _failed(goal, RunSkill.Result.REFUSED, str(error))
            finally:
                self._taken = False
        {"executed": goal.succeed, "cancelled": goal.canceled if goal.is_cancel_requested else goal.abort}.get(
            report.outcome, goal.abort
        )()
        return RunSkill.Result(
            error_code=CODES[report.outcome], error_text="" if report.outcome == "executed" else report.message,
            positions=self._arm.read().q.tolist(), tracking_rms=report.tracking_rms,
        )  # fmt: skip

    def _run(self, offer: RobotMotion, goal: Any) -> ExecutionReport:
        if offer.robot != self._robot.name:
            raise RefusedTrajectory(f"the motion is for '{offer.robot}', this cell has '{self._robot.name}': map it again")
        motion, state = convert.motion_of_msg(offer), self._arm.read()
        world = surroundings(Scene((), ()), self._robot.T_world_base)
        approved = approve(motion, self._robot, state, world, self._hardware.guard, now_ns=self._arm.now_ns())
        pacer, told = Pacer(self._arm.period), [0.0]

        def observe(cycle: Cycle) -> None:
            self._publish()
            if cycle.time >= told[0]:
                goal.publish_feedback(RunSkill.Feedback(time=float(cycle.s), duration=float(motion.t[-1])))
                told[0] = cycle.time + 0.1
            pacer.wait()

        return self._executor.execute(approved, observe)

    def _on_reset(self, request: Any, response: Any) -> Any:
        try:
            if self._arm is None:
                raise RefusedTrajectory("the node is not configured")
            if isinstance(self._arm, ControllerArm):
                self._arm.recover()
            self._executor.reset()
            response.success = True
        except RefusedTrajectory as error:
            response.success, response.message = False, str(error)
        return response

    def _idle(self) -> None:
        """While nothing is executed the arm stands, physics goes on, and states are published."""
        pacer = Pacer(0.01)
        while not self._ended.is_set():
            with self._busy:
                if self._arm is not None:
                    for _ in range(5):
                        self._arm.wait()
                    self._publish()
            pacer.wait()

    def _publish(self) -> None:
        if not self._ended.is_set() and self._hardware.simulated:  # a real arm's own broadcaster does
            self._states.publish(convert.state_to_msg(self._arm.read(), self.get_clock().now().nanoseconds))

    def _health(self) -> Health:
        if self._arm is None or not self._active:
            health = WARN, "not active: goals are rejected", {}
        elif self._executor.phase is Phase.FAULT:
            health = ERROR, f"FAULT: {self._executor.reason}; see to it, then call ~/reset", {}
        else:
            health = OK, self._executor.phase.value, {"motion of skill": self._offer.skill if self._offer else "none"}
        self._safety.publish(DiagnosticStatus(level=health[0], name=self.get_fully_qualified_name(), message=health[1]))
        return health

    def close(self) -> None:
        """Stop the arm."""
        if self._arm is not None:
            self._executor.cancel()
        self._ended.set()
        self._thread.join(0.5)


def _failed(goal: Any, code: int, text: str) -> RunSkill.Result:
    goal.abort()
    return RunSkill.Result(error_code=code, error_text=text)


def main() -> None:
    """Entry point."""
    run(Executor)
