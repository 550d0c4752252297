"""The PyTorch back end's way through a GPU, without one: devices that may not be mixed, waits, and graphs that are replayed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from visual_irl.perception.landmarks.region import Region
from visual_irl.perception.landmarks.torch_network import TorchNetwork
from visual_irl.perception.landmarks.torch_tracking import Followed, TorchTracker
from visual_irl.perception.landmarks.weights import component_path

FILES = {
    "pose_detection": component_path("pose_detection"),
    "pose_landmark": component_path("pose_landmark_full"),
    "palm_detection": component_path("palm_detection_full"),
    "hand_landmark": component_path("hand_landmark_full"),
}
DEVICE = torch.device("meta")  # as far from a CPU as CUDA is: what mixes the two is refused
PICTURE = np.zeros((48, 64, 3), np.uint8)
BODY, HAND, OTHER = Region(30.0, 20.0, 40.0), Region(20.0, 30.0, 10.0), Region(50.0, 30.0, 10.0, 0.3)


class Tape(TorchDispatchMode):
    """Stands in for a CUDA graph: what ran while it was on runs again, on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.steps.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, out in self.steps:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor):
                    old.copy_(new)


class Waits(TorchDispatchMode):
    """Refuses to mix devices, lists what goes from one to the other, and fetches -1 from one that has no values."""

    def __init__(self) -> None:
        super().__init__()
        self.up: list[str] = []
        self.down: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, options = func._schema.name.removeprefix("aten::"), kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if tensor.device == DEVICE]
        if not there:
            self.up += [name] if options.get("device") == DEVICE and tensors else []
            return func(*args, **options)
        if options.get("device") == torch.device("cpu"):
            self.down.append(name)
            return torch.full(there[0].shape, -1.0)
        masks = name == "index" and any(tensor.dtype == torch.bool for tensor in there[1:])
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "equal") and not masks, f"{name} waits"
        strangers = [tensor for tensor in tensors if tensor.device != DEVICE]
        assert all(tensor.dim() == 0 or name == "copy_" for tensor in strangers), f"{name} mixes devices"
        # a number goes into a kernel's arguments; `where` copies its tensor to the device
        self.up += [name] if strangers and name in ("where", "copy_") else []
        return func(*args, **options)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> TorchTracker:
    """The four networks on a device of which only shapes are known."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **options: empty(*shape, **options))
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(TorchNetwork, "captured", lambda self, size: lambda pictures: self._run(pictures.to(self.dtype)))
    return TorchTracker(FILES, DEVICE, half=True, least=0.5, streams=2)


def test_a_replayed_graph_gives_what_the_network_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type("Stream", (), {"wait_stream": lambda self, other: None})
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
    monkeypatch.setattr(torch.cuda, "graph", lambda tape, capture_error_mode: tape)
    network = TorchNetwork(FILES["hand_landmark"], (0, 1, 2, 3), torch.device("cpu"), half=False)
    replay = network.captured(2)
    two, one = torch.rand((2, 3, 224, 224)), torch.rand((1, 3, 224, 224))
    results = replay(two), replay(one)  # the second does not fill the batch, and leaves the first one's results alone
    for pictures, found in zip((two, one), results, strict=True):
        for wanted, result in zip(network(pictures), found, strict=True):
            assert result.shape == wanted.shape and torch.allclose(result, wanted, atol=1e-3)  # px; batches add otherwise


def test_who_is_followed_costs_one_wait(tracker: TorchTracker) -> None:
    streams = [Followed(BODY, hands=[HAND, OTHER]) for _ in range(2)]
    with Waits() as waits:
        tracker.follow([tracker.upload(PICTURE), tracker.upload(PICTURE[:, 4:])], streams, [0, 0])
    assert len(waits.down) == 1
    assert len(waits.up) == 4  # two pictures, where to look for bodies, and for hands


def test_who_is_searched_for_costs_two_waits(tracker: TorchTracker) -> None:
    new, lacking = Followed(), Followed(BODY, hands=[HAND])
    with Waits() as waits:
        bodies, hands = tracker.follow([tracker.upload(PICTURE)] * 2, [new, lacking], [0, 0])
    assert len(waits.down) == 2 and len(waits.up) == 5
    assert bodies == [None, None] and hands == [[], []]
