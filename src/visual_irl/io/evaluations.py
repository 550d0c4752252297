"""What an optimiser asked a loss so far, on disk: one that was killed asks again, is answered from there, and goes on the same.

An optimiser without chance, told the same losses and gradients, asks for the same weights. So nothing of its own state need be
kept, and what is resumed ends with the same weights to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.io.tensors import Tensors, load_tensors, save_tensors

KIND = "evaluations"


class Evaluations:
    """Weights (F,) that were asked for in turn, with loss and gradient (F,) there; only finite ones are kept."""

    def __init__(self, path: Path | None = None, of: str = "", resume: bool = False) -> None:
        """None is kept yet; or, to resume, what the file holds.

        Args:
            path: File that is written after each evaluation; they are only remembered when not given.
            of: Digest of all that the loss depends on.
            resume: Begin with what the file holds, where there is one.

        Raises:
            UnreadableFile: the file is not one of evaluations.
            InvalidInput: it is of another loss.
        """
        self._path, self._of = path, of
        self._weights: list[ndarray] = []
        self._losses: list[float] = []
        self._gradients: list[ndarray] = []
        self._asked = 0
        if resume and path is not None and path.is_file():
            self._read(path)

    def __len__(self) -> int:
        return len(self._losses)

    @property
    def best(self) -> Float[ndarray, "F"] | None:
        """The weights of the least loss; None before the first."""
        return self._weights[int(np.argmin(self._losses))] if self._losses else None

    def ask(
        self, weights: Float[ndarray, "F"], compute: Callable[[ndarray], tuple[float, ndarray]]
    ) -> tuple[float, Float[ndarray, "F"]]:
        """Loss and gradient at the weights, computed only if that was not the answer to the same question before."""
        k = self._asked
        self._asked += 1
        if k < len(self) and np.array_equal(self._weights[k], weights):
            return self._losses[k], self._gradients[k].copy()
        loss, gradient = compute(weights)
        if np.isfinite(loss) and np.isfinite(gradient).all():
            del self._weights[k:], self._losses[k:], self._gradients[k:]
            self._weights.append(np.array(weights, float))
            self._losses.append(float(loss))
            self._gradients.append(np.array(gradient, float))
            self._write()
        return loss, gradient

    def forget(self) -> None:
        """The result is written: the file is not needed any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._path is None:
            return
        arrays = {
            "weights": np.stack(self._weights), "losses": np.array(self._losses), "gradients": np.stack(self._gradients)
        }  # fmt: skip
        save_tensors(self._path, KIND, Tensors(arrays, {"of": self._of}))

    def _read(self, path: Path) -> None:
        file = load_tensors(path, KIND, lambda file: file)
        if file.facts.get("of") != self._of:
            raise InvalidInput(
                f"'{path}' is of other demonstrations, options or another version: leave --resume out to begin anew, or give "
                "what it was begun with"
            )
        shapes = {name: array.shape for name, array in file.arrays.items()}
        count, features = shapes.get("weights", (0, 0))
        if shapes != {"weights": (count, features), "gradients": (count, features), "losses": (count,)}:
            raise InvalidInput(f"'{path}' holds arrays that do not fit each other: leave --resume out to begin anew")
        self._weights, self._gradients = list(file.arrays["weights"]), list(file.arrays["gradients"])
        self._losses = [float(loss) for loss in file.arrays["losses"]]
