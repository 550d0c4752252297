"""The lifecycle node `executor`: executes the motion that a skill offers, after the guard approved it, and watches the arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import RobotMotion

from visual_irl.errors import InvalidInput, RefusedTrajectory, VisualIrlError
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import Phase, StreamConfig
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.cell import Cell
from visual_irl_ros.gate import Gate
from visual_irl_ros.installation import Installation
from visual_irl_ros.offered_motion import Offer, checked
from visual_irl_ros.runtime import ERROR, OK, WARN, Health, Reporter, publish, run


class Executor(LifecycleNode):
    """Its arm is MuJoCo's or one behind ros2_control; it moves only while the node is active, a goal runs, and the node that
    offered the motion lives."""

    def __init__(self) -> None:
        super().__init__("executor")
        self._installed = Installation(self)
        autostart = parameters.fixed(self, "autostart", False, "Configure and activate the node itself")
        self._config = parameters.declare(self, StreamConfig(), self._on_config)
        self._run_first = parameters.fixed(self, "run", False, "Execute the first motion that is offered, in simulation only")
        if self._run_first and not self._installed.simulated:
            raise InvalidInput("run: a real arm is told by the action ~/run_skill, by somebody who sees it")
        self._cell: Cell | None = None
        self._active, self._why = False, ""
        self._offer: Offer | None = None
        self._motions = Gate(self._offered, max_age=float("inf"))
        group = ReentrantCallbackGroup()
        self._states = self.create_publisher(JointState, "joint_states", qos.NEWEST)
        self._safety = self.create_publisher(DiagnosticStatus, "~/safety_state", qos.LATCHED)
        self.create_subscription(
            RobotMotion, "motion", self._on_motion, qos.OFFER, callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_liveliness),
        )  # fmt: skip
        self.create_service(Trigger, "~/reset", self._on_reset, qos_profile=qos.SERVICE, callback_group=group)
        self._server = ActionServer(
            self, RunSkill, "~/run_skill", self._execute, callback_group=group, goal_callback=self._on_goal,
            cancel_callback=lambda goal: CancelResponse.ACCEPT, **qos.ACTION,
        )  # fmt: skip
        self._reporter = Reporter(self, self._health)
        if autostart and self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Make the arm, and connect its gripper."""
        try:
            self._cell = self._installed.cell(self._config, self._tell)
        except VisualIrlError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Accept goals."""
        self._active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Stop on the path; no goal is accepted any more."""
        self._active, self._why = False, "the node was deactivated"
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Give the arm back."""
        self._why, cell, self._cell = "the node was cleaned up", self._cell, None
        cell.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """Stop for good."""
        self._active = False
        return TransitionCallbackReturn.SUCCESS

    def _on_config(self, config: StreamConfig) -> None:
        if self._cell is not None:
            self._cell.reconfigure(config)
        self._config = config

    def _on_motion(self, message: RobotMotion) -> None:
        offered = self._motions.admit(message, self.get_clock().now().nanoseconds)
        if offered is not None:
            self._offer = offered
            if self._run_first and self._on_goal(None) is GoalResponse.ACCEPT:
                self._run_first = False
                result = self._result(offered.name, lambda: False, lambda told: None)
                log = self.get_logger()
                log.error(result.error_text) if result.error_code else log.info(convert.said_of_result(offered.name, result))

    def _offered(self, message: RobotMotion) -> Offer:
        motion = convert.motion_of_msg(message, self._installed.robot)
        return checked(Offer(message.skill, message.digest, motion), self._installed.T_world_base)

    def _on_liveliness(self, event: Any) -> None:
        if event.alive_count == 0 and event.alive_count_change < 0:
            self._offer, self._why = None, "the node that offered the motion is gone"

    def _on_goal(self, goal: Any) -> GoalResponse:
        ready = self._active and self._cell.taken.acquire(blocking=False)
        return GoalResponse.ACCEPT if ready else GoalResponse.REJECT

    def _execute(self, goal: Any) -> RunSkill.Result:
        result = self._result(goal.request.skill, lambda: goal.is_cancel_requested, goal.publish_feedback)
        (goal.succeed if not result.error_code else goal.canceled if goal.is_cancel_requested else goal.abort)()
        return result

    def _result(self, skill: str, cancelled: Callable[[], bool], tell: Callable[[Any], None]) -> RunSkill.Result:
        """Execute the motion that is offered; `cell.taken` is held and is given back."""
        cell, offer, code, self._why = self._cell, self._offer, RunSkill.Result.NO_MOTION, ""
        try:
            if offer is None or offer.name != skill:
                there = f"'{offer.name}'" if offer else "none"
                raise RefusedTrajectory(f"no motion of skill '{skill}'; there is {there}")
            code, seconds = RunSkill.Result.REFUSED, float(offer.motion.trajectory.t[-1])
            self._installed.journal.decide("offer", name=offer.name, digest=offer.digest, task=offer.motion.task)
            report = cell.run(
                offer.motion,
                lambda: bool(self._why) or not self._active or cancelled(),
                lambda s: self.context.ok() and tell(RunSkill.Feedback(time=s, duration=seconds)),
            )
        except (VisualIrlError, ValueError) as error:
            return RunSkill.Result(error_code=code, error_text=str(error))
        finally:
            cell.taken.release()
        return convert.report_to_msg(report, self._why)

    def _on_reset(self, request: Any, response: Any) -> Any:
        response.message = self._cell.reset() if self._cell is not None else "the node is not configured"
        response.success = not response.message
        return response

    def _tell(self, state: RobotState) -> None:
        if self._installed.simulated:  # a real arm's own broadcaster does
            publish(self._states, convert.state_to_msg(state, self.get_clock().now().nanoseconds))

    def _health(self) -> Health:
        values = {"motion of skill": self._offer.name if self._offer else "none", "gripper": self._installed.fingers}
        values["log"] = str(self._installed.journal.path)
        values |= {f"motions {k}": v for k, v in self._motions.counts().items()}
        if self._cell is None or not self._active:
            health = WARN, "not active: goals are rejected", values
        elif self._cell.phase is Phase.FAULT:
            health = ERROR, f"FAULT: {self._cell.reason}; see to it, then call ~/reset", values
        else:
            health = OK, self._cell.phase.value, values
        self._safety.publish(DiagnosticStatus(level=health[0], name=self.get_fully_qualified_name(), message=health[1]))
        return health

    def close(self) -> None:
        """Stop the arm."""
        self._why = "the node ends"
        if self._cell is None or self._cell.close():
            self._installed.journal.close()


def main() -> None:
    """Entry point."""
    run(Executor)
