"""From pictures to 3D: frame sources, keypoint detectors, lifting, smoothing. Plug-ins are imported when named."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

CAMERAS = Registry(
    "cameras",
    {
        "realsense": ("visual_irl.perception.cameras.realsense:RealSense", pip_install("realsense")),
        "synthetic": ("visual_irl.perception.cameras.synthetic_camera:SyntheticCamera", pip_install()),
    },
)
"""Live and simulated cameras; recordings, videos and folders are opened with `perception.cameras.sources.open_frames`."""

DETECTORS = Registry(
    "detectors",
    {
        "mediapipe": ("visual_irl.perception.landmarks.mediapipe_detector:MediapipeDetectorConfig", pip_install()),
        "torch": ("visual_irl.perception.landmarks.torch_detector:TorchDetectorConfig", pip_install()),
    },
)
"""Keypoint detectors: a config whose `build()` gives a `perception.landmarks.detection.Detector`."""

OBJECT_DETECTORS = Registry(
    "object_detectors",
    {
        "onions": ("visual_irl.perception.objects.onions:OnionDetectorConfig", pip_install()),
        "gripped_onions": ("visual_irl.perception.objects.onions:gripped_onions", pip_install()),
        "vessels": ("visual_irl.perception.objects.vessels:VesselDetectorConfig", pip_install()),
        "onnx": ("visual_irl.perception.objects.onnx_objects:OnnxDetectorConfig", pip_install("onnx")),
    },
)
"""Object detectors: what makes a config whose `build()` gives a `perception.objects.detectors.ObjectDetector`; a task names its
own."""
