"""How fast an arm may move beside a person: speed and separation monitoring of ISO/TS 15066:2016.

The standard keeps the robot at least the protective separation distance away (5.5.4.2.3, equation 1, after ISO 13855):

    S_p = v_h (T_r + T_s) + v_r T_r + S_s + C + Z_d + Z_r,

what the person walks while the robot reacts and stops, what the robot moves while it reacts and while it stops, how far a hand
reaches in before it is sensed, and what both positions may be wrong. Stopping with deceleration a takes T_s = v_r / a and
S_s = v_r^2 / (2 a). Where the separation is known, the equation says how fast the robot may be. This is a limit for planning;
the function that protects a person is the robot's own certified one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visual_irl.errors import InvalidInput


@dataclass(frozen=True)
class Collaboration:
    """What is known about the people around the arm, and how fast the arm and its cell react."""

    separation: float = 1.2
    """Distance that people keep from every point of the arm, by a fence, a scanner or the layout [m]."""
    human_speed: float = 1.6
    """Speed at which a person approaches: 1.6 m/s walking, 2.0 m/s below 0.5 m (ISO 13855:2010, 6.2) [m/s]."""
    reaction: float = 0.1
    """Time until the arm begins to stop: sensing, this program and the controller; measure it on the cell [s]."""
    deceleration: float = 4.0
    """Deceleration of the fastest point while the arm stops; from the maker's stopping-distance tables [m/s^2]."""
    intrusion: float = 0.1
    """C: how far a body part reaches into the field before it is sensed [m]."""
    human_uncertainty: float = 0.05
    """Z_d: of the sensed person [m]."""
    robot_uncertainty: float = 0.01
    """Z_r: of the arm [m]."""
    most: float = 1.5
    """Speed never passed, however far people are [m/s]."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf or (name in ("deceleration", "most") and not value > 0.0):
                raise InvalidInput(f"collaboration: {name} is {value}, expected a finite number above 0")

    def separation_for(self, speed: float) -> float:
        """S_p at a speed of the arm's fastest point [m/s]: how far away people must be [m]."""
        stop = speed / self.deceleration
        fixed = self.intrusion + self.human_uncertainty + self.robot_uncertainty
        return self.human_speed * (self.reaction + stop) + speed * (self.reaction + 0.5 * stop) + fixed

    @property
    def speed_limit(self) -> float:
        """Largest speed of any point of the arm for which `separation` is enough [m/s]; 0: it must stand."""
        room = self.separation - self.separation_for(0.0)
        if not room > 0.0:
            return 0.0
        slope = self.human_speed + self.reaction * self.deceleration  # v^2 + 2 slope v = 2 room deceleration
        return float(min(np.sqrt(slope * slope + 2.0 * room * self.deceleration) - slope, self.most))
