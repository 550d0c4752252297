"""How landmarks become joint centres: offsets, gates and standard deviations."""

from __future__ import annotations

from dataclasses import dataclass, field

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton.arm_depth import ArmDepthConfig


@dataclass(frozen=True)
class LiftingConfig:
    """How landmarks become joint centres."""

    min_visibility: float = 0.5
    """A landmark with a lower visibility in [0, 1] is lost: below it the network guesses."""
    inset_shoulder: float = 0.053
    """From the skin that the camera sees to the shoulder's centre, along the viewing ray, seen from the front [m]. This and
    the next were fitted on rendered people, seen from both sides."""
    inset_shoulder_outward: float = 0.040
    """So much less from the outside, and more across the chest [m]: the joint lies near the shoulder's outer skin."""
    most_outward: float = 0.6
    """From further outside it is no less: muscle covers the joint there, too."""
    inset_elbow: float = 0.055
    """The same for the elbow [m], to compare with the body's shape only: `arm.radius_elbow` places it."""
    inset_wrist: float = 0.028
    """The same for the wrist [m], likewise."""
    inset_hip: float = 0.09
    """The same for the hip [m]; a guess, for rendered people sit behind a table."""
    inset_hand_wrist: float = 0.028
    """The same for the wrist as the hand's network sees it [m]."""
    inset_hand: float = 0.007
    """The same for the joints of the hand [m]: half a finger."""
    shoulder_drop: float = 0.027
    """From the shoulder's landmark to the joint's centre, along the trunk [m]: the landmark is set near the acromion, which
    people can see; the centre of the humeral head lies below it ..."""
    shoulder_outward: float = 0.010
    """... and outward along the line of the shoulders [m]."""
    elbow_further: float = 0.010
    """From the elbow's landmark to the joint's centre, along the upper arm [m]. This, the shoulder's and the wrist's were
    fitted on rendered people, seen from four sides (12 and 14 mm; real people's forearms say that it is less)."""
    wrist_before: float = 0.010
    """From the wrist's landmark back to the joint's centre, along the forearm [m]."""
    far_shoulder: float = -0.85
    """Cosine between the way out of a shoulder and the way to the camera; below it, the trunk hides that shoulder."""
    wrist_pixels: tuple[float, float] = (7.0, 4.0)
    """Standard deviations [px of 640] of the wrist by the body's network and by the hand's."""
    finger_sigma: tuple[float, float, float] = (0.0042, 0.010, 0.018)
    """Standard deviations of depths on a hand [m]: of a joint by its own skin, of a knuckle by the hand's shape, and from
    one joint of a finger to the next by the shape."""
    finger_gate: float = 2.0
    """Skin further from where its joint is expected than so many standard deviations is not the joint's own."""
    tip_further: tuple[float, float, float, float, float] = (0.007, 0.007, 0.007, 0.007, 0.003)
    """From the tips' landmarks on to where the fingers end, thumb to little finger, along them [m]."""
    inset_tip: float = 0.003
    """From the skin at a tip's landmark to the finger's middle [m]."""
    hand_size: tuple[float, float] = (1.2, 0.25)
    """How large hands are, in sizes of the network's shape, and the standard deviation of its logarithm."""
    hand_hidden: tuple[float, float] = (0.3, 0.1)
    """How often something in front of a hand's joint is seen, and something behind it."""
    arm: ArmDepthConfig = field(default_factory=ArmDepthConfig)
    """Weights of the evidence about the arm's depth."""
    patch: float = 0.012
    """Half the side of the square over which depth is read [m]: within a forearm's width."""
    max_disagreement: float = 0.20
    """A joint whose depth differs by more [m] from the body's shape is what hides the joint or lies behind it; the
    shape itself errs by 0.05 m on average."""
    limb_range: tuple[float, float] = (0.20, 0.36)
    """Lengths of adults' upper arms and forearms [m]; a depth that gives them is believed against the shape."""
    breadth_range: tuple[float, float] = (0.25, 0.45)
    """The same of the way from one shoulder to the other [m]."""
    lateral_shoulder: float = 0.007
    """Standard deviation across the ray [m]. These and the depths' were chosen so that 90 % intervals of rendered people
    held 90 %, and are a little wider."""
    lateral_shoulder_side: float = 0.012
    """So much more, where it is seen from its side or through the chest [m]."""
    sigma_shoulder_side: float = 0.02
    """So much more along the ray, where it is seen from its own side [m]."""
    lateral_above: float = 0.15
    """So much more across the ray, for shoulders and elbows [m], for each by which the cosine between trunk and ray is ..."""
    above: float = 0.4
    """... above this: from above the network draws them worse, and is as sure of them."""
    landmark_pixels: float = 1.0
    """What landmarks err by in the picture [px of 640], which is much from afar."""
    lateral_elbow: float = 0.0165
    """The same for the elbow [m]."""
    lateral_wrist: float = 0.0065
    """The same for the wrist [m]."""
    sigma_limb: float = 0.008
    """By how much a limb seems to change its length [m] when its elbow is put where both limbs have theirs."""
    hidden_growth: float = 1.5
    """So many times more of it for an elbow or a wrist that is hidden: the network guesses its pixel."""
    doubted_growth: float = 3.0
    """So many times more of it, and of the depth's, for an elbow or a wrist whose visibility is 0; in between in proportion."""
    lateral_covered: float = 0.020
    """The same for a wrist that the other hand covers [m], whose depth its forearm tells; ..."""
    sure_covered: float = 0.04
    """... with a larger deviation of that [m] it is lost, ..."""
    forearm_seen: float = 0.6
    """... and where less of the pixels along the forearm shows its own skin."""
    lateral_hip: float = 0.025
    """The same for the hip [m]; a guess."""
    lateral_hand: float = 0.0028
    """The same for the joints of the hand [m], ..."""
    lateral_thumb: float = 0.012
    """... of the thumb, which bends most and is hidden most, ..."""
    lateral_touching: float = 0.014
    """... and of the tip of a finger that may go on within or behind what it touches: the network draws it short."""
    touching: tuple[float, float] = (0.05, 0.025)
    """A finger may touch what is seen beyond its tip when that is nearer or farther than the tip by less [m]."""
    sigma_thumb_touching: float = 0.025
    """Standard deviation in every direction of a thumb that may touch something: it is drawn on the skin of what it goes
    around [m]."""
    sigma_guessed: float = 0.05
    """Standard deviation in every direction of a thumb that is hidden under the palm [m]."""
    sigma_depth: float = 0.009
    """Standard deviation along the ray of a joint whose depth was measured [m]."""
    sigma_square: float = 0.0014
    """So much more at 1 m [m], and four times as much at 2 m: a stereo camera's depth (`depth_noise`)."""
    sigma_breadth: float = 0.05
    """Standard deviation along the ray of a shoulder that the trunk hides, placed by the other one [m], ..."""
    lateral_breadth: float = 0.025
    """... and across it."""
    sigma_hand: float = 0.025
    """Standard deviation along the ray of a hand that was placed by its wrist [m]."""
    sigma_shape: float = 0.08
    """Standard deviation along the ray of a joint placed by the body's shape alone [m]."""
    sigma_distance: float = 0.15
    """The same of a whole body in the world of which no depth is known, as a share of its distance: small, or far away?"""

    def __post_init__(self) -> None:
        deviation = (1e-4, 1.0)
        require_within(
            self, 0.0, 0.5,
            min_visibility=(0.0, 1.0), forearm_seen=(0.0, 1.0), most_outward=(0.0, 1.0), above=(0.0, 1.0),
            far_shoulder=(-1.0, 1.0), wrist_pixels=(0.1, 100.0), landmark_pixels=(0.0, 100.0),
            finger_sigma=deviation, finger_gate=(0.1, 100.0), hand_size=(0.01, 10.0), hand_hidden=(1e-6, 0.49),
            patch=(0.001, 0.1), max_disagreement=(0.0, 2.0), limb_range=(0.01, 1.0), hidden_growth=(0.0, 100.0),
            doubted_growth=(0.0, 100.0),
            **dict.fromkeys([name for name in vars(self) if name.startswith(("lateral_", "sigma_"))], deviation),
        )  # fmt: skip
        if not self.limb_range[0] < self.limb_range[1]:
            raise InvalidInput(f"limb_range is {self.limb_range} m, expected the shortest and then the longest")
