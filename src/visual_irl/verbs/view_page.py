"""A page in the browser with what perception sees: points, skeleton, uncertainty and objects. Drawn with viser."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from scipy.stats import chi2

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingDependency, pip_install
from visual_irl.perception.drawing import LINKS
from visual_irl.types import KEYPOINTS, Intrinsics, ObjectEstimate, keypoint_index

ELLIPSOID = float(np.sqrt(chi2.ppf(0.9, df=3)))
"""Standard deviations from the centre to the surface inside of which a normal point lies with 90 %."""
LIMB, FINGER = 0.012, 0.004
"""Thickness of the skeleton's lines [m]."""
COLOURS = {"left": (185, 15, 10), "right": (5, 45, 185), "both": (110, 110, 110)}
"""RGB of each side as elsewhere, left red and right blue, but dark: the page's tone mapping makes lines and meshes paler."""
PLAIN, MARKED, UNTOLD = (235, 150, 40), (90, 55, 35), (150, 150, 150)
"""Colours of objects without an attribute, with one, and of those of which nothing is known."""
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Snapshot:
    """What is shown at one time: points with colours, keypoints with covariances (NaN: lost), objects, and a line of text."""

    points: Float32[ndarray, "N 3"]
    colours: UInt8[ndarray, "N 3"]
    p_world: Float[ndarray, "K 3"]
    covariance: Float[ndarray, "K 3 3"]
    objects: tuple[ObjectEstimate, ...] = ()
    text: str = ""


@dataclass
class ViewPage:
    """The page at `address`; `show` replaces what is on it. A context manager: leaving it closes the page.

    Raises:
        MissingDependency: viser is not installed.
        InvalidInput: the port is out of range or in use, or the host is no address of this machine.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    _layers: dict[str, Any] = field(default_factory=dict, init=False)

    def __enter__(self) -> ViewPage:
        viser = _viser()
        self.port = free_port(self.host, self.port)
        self._server = viser.ViserServer(host=self.host, port=self.port, label="visual_irl", verbose=False)
        self._server.gui.configure_theme(control_layout="floating", show_logo=False, show_share_button=False)
        self._server.scene.set_up_direction("+z")
        self._sphere = _unit_sphere()
        self._status = self._server.gui.add_markdown("")
        for name in ("points", "skeleton", "90 % regions", "objects"):
            self._layers[name] = self._server.gui.add_checkbox(name, initial_value=True)
        self._size = self._server.gui.add_slider("point size [mm]", min=1.0, max=12.0, step=0.5, initial_value=3.0)
        self._shown: Snapshot | None = None
        for control in (*self._layers.values(), self._size):
            control.on_update(lambda _: self._shown and self.show(self._shown))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{self.host}:{self.port}"

    def look_through(self, T_world_camera: Float[ndarray, "4 4"], intrinsics: Intrinsics, distance: float = 1.0) -> None:
        """Let new visitors begin where the camera stands, and turn about a point at a distance [m] in front of it."""
        camera = self._server.initial_camera
        camera.position = tuple(T_world_camera[:3, 3])
        camera.up = tuple(-T_world_camera[:3, 1])
        camera.look_at = tuple(se3.apply(T_world_camera, np.array([0.0, 0.0, distance])))
        camera.fov = float(2.0 * np.arctan(0.5 * intrinsics.height / intrinsics.fy))

    def add_player(self, duration: float, step: float) -> Player:
        """Controls for a recording that lasts `duration` [s] and has a frame every `step` [s]."""
        return Player(self._server.gui, duration, step)

    def show(self, snapshot: Snapshot) -> None:
        """Replace what is on the page."""
        self._shown = snapshot
        on = {name: bool(box.value) for name, box in self._layers.items()}
        with self._server.atomic():
            self._status.content = snapshot.text
            scene = self._server.scene
            scene.add_point_cloud(
                "/points", snapshot.points, snapshot.colours, point_size=1e-3 * self._size.value, precision="float32",
                point_shape="circle", point_shading="flat", visible=on["points"] and len(snapshot.points) > 0,
            )  # fmt: skip
            for name, (ends, colours) in skeleton_lines(snapshot.p_world).items():
                thickness = LIMB if name == "limbs" else FINGER
                shown = on["skeleton"] and len(ends) > 0
                scene.add_line_segments(f"/skeleton/{name}", ends, colours, thickness=thickness, visible=shown)
            self._balls("/regions", *regions(snapshot.p_world, snapshot.covariance), opacity=0.2, visible=on["90 % regions"])
            self._balls("/objects", *object_ellipsoids(snapshot.objects), opacity=0.6, visible=on["objects"])

    def _balls(
        self, name: str, centres: ndarray, axes: ndarray, q_wxyz: ndarray, colours: ndarray, opacity: float, visible: bool
    ) -> None:
        """Ellipsoids with semi-axes [m], turned by quaternions."""
        if not len(centres):
            self._server.scene.remove_by_name(name)
            return
        vertices, faces = self._sphere
        self._server.scene.add_batched_meshes_simple(
            name, vertices, faces, q_wxyz, centres, batched_scales=axes, batched_colors=colours, opacity=opacity,
            visible=visible, cast_shadow=False, receive_shadow=False,
        )  # fmt: skip


class Player:
    """Play, pause, and a slider of the time [s]. It shows hundredths, for which there is room, and goes on exactly."""

    def __init__(self, gui: Any, duration: float, step: float) -> None:
        self._duration = float(np.ceil(100.0 * max(duration, step)) / 100.0)
        self._play = gui.add_button("play")
        self._slider = gui.add_slider("time [s]", min=0.0, max=self._duration, step=0.01, initial_value=0.0)
        self._exact = 0.0
        self.playing = False
        self._play.on_click(lambda _: self._toggle())

    def _toggle(self) -> None:
        if not self.playing and self.time >= self._duration:
            self._slider.value = 0.0
        self.playing = not self.playing
        self._play.label = "pause" if self.playing else "play"

    @property
    def time(self) -> float:
        """Where the slider stands [s]."""
        return float(self._slider.value)

    def advance(self, seconds: float) -> float:
        """The time to show; moves on by so much while playing, and pauses at the end."""
        if self.playing:
            if self.time != round(self._exact, 2):  # somebody moved it
                self._exact = self.time
            self._exact = min(self._exact + seconds, self._duration)
            self._slider.value = round(self._exact, 2)
            if self.time >= self._duration:
                self._toggle()
        return self.time


def skeleton_lines(p_world: Float[ndarray, "K 3"]) -> dict[str, tuple[Float[ndarray, "N 2 3"], UInt8[ndarray, "N 2 3"]]]:
    """Ends [m] and colours of the lines between keypoints that were found, limbs and fingers apart."""
    lines: dict[str, tuple[ndarray, ndarray]] = {}
    for name, wanted in (("limbs", False), ("fingers", True)):
        links = [(keypoint_index(a), keypoint_index(b), _side(a, b)) for a, b, _ in LINKS if ("hand_" in b) == wanted]
        found = [link for link in links if np.isfinite(p_world[[link[0], link[1]]]).all()]
        ends = np.array([p_world[[i, j]] for i, j, _ in found]).reshape(-1, 2, 3)
        colours = np.array([[COLOURS[side]] * 2 for *_, side in found], np.uint8).reshape(-1, 2, 3)
        lines[name] = ends, colours
    return lines


def _side(a: str, b: str) -> str:
    """The side of a line between two keypoints."""
    sides = {name.split("_", 1)[0] for name in (a, b)}
    return sides.pop() if len(sides) == 1 else "both"


def regions(
    p_world: Float[ndarray, "K 3"], covariance: Float[ndarray, "K 3 3"]
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"], Float[ndarray, "N 4"], UInt8[ndarray, "N 3"]]:
    """Centres, semi-axes [m], orientations and colours of the ellipsoids in which found keypoints lie with 90 %."""
    found = np.isfinite(p_world).all(1) & np.isfinite(covariance).all((1, 2))
    variances, axes = np.linalg.eigh(covariance[found])
    axes[..., 0] *= np.linalg.det(axes)[:, None]  # right-handed
    turns = np.array([se3.quaternion_wxyz(R) for R in axes]).reshape(-1, 4)
    sides = np.array([COLOURS[_side(name, name)] for name in KEYPOINTS], np.uint8)
    return p_world[found], ELLIPSOID * np.sqrt(np.maximum(variances, 0.0)), turns, sides[found]


def object_ellipsoids(
    objects: tuple[ObjectEstimate, ...],
) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"], Float[ndarray, "N 4"], UInt8[ndarray, "N 3"]]:
    """Centres, semi-axes [m], orientations and colours; what stands is as high as it is and turned as it is; one with an
    attribute is dark, one of which none is known is grey."""
    centres = np.array([item.p_world for item in objects]).reshape(-1, 3)
    axes = [[item.radius, item.radius, item.radius if item.height is None else 0.5 * item.height] for item in objects]
    turns = [se3.quaternion_wxyz(se3.rotation_between(_UP, _UP if item.axis is None else item.axis)) for item in objects]
    rgb = [_colour(item) for item in objects]
    return (
        centres, np.array(axes).reshape(-1, 3), np.array(turns).reshape(-1, 4), np.array(rgb, np.uint8).reshape(-1, 3)
    )  # fmt: skip


def _colour(item: ObjectEstimate) -> tuple[int, int, int]:
    most = max(item.attributes.values(), default=None)
    return UNTOLD if most is None else MARKED if most > 0.5 else PLAIN


def free_port(host: str, port: int) -> int:
    """`port`, or any free one for 0, if a server can be opened there.

    Raises:
        InvalidInput: it cannot; says why.
    """
    if not 0 <= port <= 65535:
        raise InvalidInput(f"port is {port}, must lie between 0 (any free one) and 65535")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except PermissionError as error:
        raise InvalidInput(f"port {port} is reserved for root; choose one of 1024 to 65535 with --port") from error
    except socket.gaierror as error:
        raise InvalidInput(f"host '{host}' is no address: {error.strerror}; use --host 127.0.0.1") from error
    except OSError as error:
        raise InvalidInput(
            f"cannot serve on {host}:{port}: {error.strerror}; choose another --port (0 takes a free one) or --host"
        ) from error


def _viser() -> Any:
    try:
        import viser
    except ModuleNotFoundError as error:
        raise MissingDependency(f"the page needs the package 'viser': {pip_install('view')}") from error
    return viser


def _unit_sphere() -> tuple[ndarray, ndarray]:
    """Vertices and faces."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2)
    return np.asarray(ball.vertices), np.asarray(ball.faces)
