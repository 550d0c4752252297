"""MuJoCo, imported so that physics runs where no OpenGL is installed, and pictures are drawn where there is no display.

On Linux pictures are drawn by EGL unless MUJOCO_GL asks for another backend; MuJoCo itself would need a display. With
MUJOCO_GL=egl or osmesa and the library absent, PyOpenGL fails inside `import mujoco` with an AttributeError; rendering is
then switched off and asked for again only by `renderer`.
"""

from __future__ import annotations

import os
import sys

from visual_irl.errors import MissingDependency

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
try:
    import mujoco
except AttributeError:
    os.environ["MUJOCO_GL"] = "disable"
    import mujoco
from mujoco.batch import Batch as Simulations

__all__ = ["Simulations", "mujoco", "renderer"]


def renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """An off-screen renderer of `width` x `height` pixels.

    Raises:
        MissingDependency: there is no OpenGL; says what to install.
    """
    try:
        return mujoco.Renderer(model, height, width)
    # each GL backend fails in its own way: ImportError, AttributeError, FatalError, a GLFW warning made an error
    except Exception as error:
        raise MissingDependency(
            f"pictures of the simulation need OpenGL ({error}); run `apt-get install -y libegl1 libgl1-mesa-dri` and "
            "set MUJOCO_GL=egl, or nothing, before starting Python; or run without pictures"
        ) from error
