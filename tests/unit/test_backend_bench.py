"""The benchmark of the PyTorch back end, on two pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visual_irl.assets import asset_path
from visual_irl.evaluation.benchmarks import backend_bench
from visual_irl.perception.landmarks.torch_detector import TorchDetectorConfig


def test_it_measures_agreement_and_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_bench, "STREAMS", 2)
    monkeypatch.setattr(backend_bench, "WARM_UP", 1)
    out = tmp_path / "torch.json"
    recording, config = asset_path("models/recordings/onion_sorting"), TorchDetectorConfig(pose_model="full", device="cpu")
    steps = []
    result = backend_bench.bench_backend(recording, (), out, 2, lambda *step: steps.append(step), config)
    content = json.loads(out.read_text())
    alone = content["agreement"][recording.name]["picture by picture"]
    assert alone["pictures"] == 1 and alone["seen_by_one_only"] == 0
    assert alone["body"]["landmarks"] >= 20 and alone["all"]["p99_px"] < 1.0 and alone["all"]["below_3_px"] == 1.0
    assert content["agreement"][recording.name]["followed"]["pictures"] == 2
    assert content["batch"]["streams"] == 2 and content["batch"]["pictures_per_s"] > 0.0
    assert 0.0 < content["one_stream"]["ms_p50"] <= content["one_stream"]["ms_p99"]
    assert content["device"] == "CPU" and "2 streams as one batch" in result.text() and steps
