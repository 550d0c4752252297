"""Nodes around an arm use UDP alone and stay as near as they were, unless the user has chosen (graphs: test_graph)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from visual_irl_ros import transport


def chosen(monkeypatch: pytest.MonkeyPatch, **given: str) -> dict[str, str]:
    """What is in the environment besides what was given."""
    environment = {"AMENT_PREFIX_PATH": os.environ["AMENT_PREFIX_PATH"], **given}
    monkeypatch.setattr(transport.os, "environ", environment)
    transport.without_shared_memory()
    return {name: value for name, value in environment.items() if name != "AMENT_PREFIX_PATH"}


def test_an_open_range_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch) == {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
    subnet = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    assert chosen(monkeypatch, **subnet) == {**subnet, "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}


@pytest.mark.parametrize("limit", [{"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {"ROS_LOCALHOST_ONLY": "1"}])
@pytest.mark.parametrize(("distribution", "name"), [("kilted", "FASTDDS"), ("jazzy", "FASTRTPS")])
def test_this_machine_stays_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: dict[str, str], distribution: str, name: str
) -> None:
    found = chosen(monkeypatch, ROS_DISTRO=distribution, **limit)
    profile = Path(found[f"{name}_DEFAULT_PROFILES_FILE"]).read_text()
    assert "127.0.0.1" in profile and "multicast" not in profile.split("<profiles")[1].lower()
    assert (found["ROS_AUTOMATIC_DISCOVERY_RANGE"], found["ROS_LOCALHOST_ONLY"]) == ("SYSTEM_DEFAULT", "0")


@pytest.mark.parametrize("name", transport.CHOICES)
def test_what_the_user_has_chosen_is_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    own = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", name: "LARGE_DATA"}
    assert chosen(monkeypatch, **own) == own
