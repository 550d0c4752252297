"""The report of a demo: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from visual_irl.io.atomic import atomic_path

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
h1{margin-bottom:0}h2{margin-top:2em;border-bottom:1px solid #ccc}img,video{max-width:100%;border:1px solid #ddd}
table{border-collapse:collapse}td,th{padding:.25em .8em;border:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}figcaption{color:#555;font-size:13px}.bad{color:#b00020}"""


def write_report(
    out: Path,
    figures: Mapping[str, Any],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    clips: Sequence[Mapping[str, Any]],
) -> Path:
    """Write `out/report.html` from the figures and the pictures in `out`; returns its path."""
    parts = [
        "<h1>From a demonstration to two robots</h1>",
        "<p>A person sorted onions in front of an RGB-D camera. A reward was learned from the extracted keypoints and objects "
        "alone; the policy that maximises it was mapped onto each arm and replayed in MuJoCo.</p>",
        "<h2>Success</h2>",
        success_table(results),
        "<p>Read from where each onion lies in the physics at the end, not from the plan. Seeds vary friction, mass, "
        "the onions' place by millimetres, and the robot's start.</p>",
        "<h2>Keypoints and objects</h2>",
        picture(out / "keypoints.png", "Keypoints on the recorded frames: the right arm is blue, the left one red."),
        extraction_table(figures["extraction"]),
        "<h2>The learned reward</h2>",
        picture(out / "reward.png", "The learned reward of every step of the demonstration, and its sum."),
        picture(out / "weights.png", "What the reward consists of. Plain: without blemish; marked: with one."),
        "<h2>Human arm against robot arm</h2>",
        mapping_table(figures["mapping"]),
        "<p>The hand is exact; the limbs cannot be: an arm that stands on the table carries its elbow above it, where a "
        "seated person's hangs. The upper arm is therefore compared with the person's mirrored upwards (dashed in the "
        "pictures), the forearm with the person's as it is, from which it is far.</p>",
    ]
    for robot in results:
        parts.append(picture(out / f"arms_{robot}.png", f"The person whom the policy imagines, and the {robot}."))
        parts.append(picture(out / f"mapping_{robot}.png", f"Hand error and limb angles on the {robot}."))
    parts.append("<h2>Replay</h2>")
    for robot in results:
        parts.append(film(out / f"replay_{robot}_0" / "replay.mp4", f"The {robot}, physics seed 0."))
        parts.append(picture(out / f"replay_{robot}_0" / "filmstrip.png", f"Filmstrip of the {robot}."))
    if clips:
        parts += ["<h2>A real person</h2>", *(clip_section(clip) for clip in clips)]
    page = out / "report.html"
    html = f"<!doctype html><html lang=en><meta charset=utf-8><title>visual_irl demo</title><style>{STYLE}</style>"
    with atomic_path(page) as partial:
        partial.write_text(html + "\n".join(parts) + "</html>\n", encoding="utf-8")
    return page


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; cells are escaped."""
    cells = "".join(f"<th>{escape(c)}</th>" for c in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def success_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Onions in the right bin, per robot and seed."""
    seeds = max(len(runs) for runs in results.values())
    rows = []
    for robot, runs in results.items():
        done, of = sum(r["succeeded"] for r in runs), sum(r["of"] for r in runs)
        rows.append([robot, f"{done} of {of}", *(f"{r['succeeded']}/{r['of']}" for r in runs)])
    return table(["robot", "onions in the right bin", *(f"seed {s}" for s in range(seeds))], rows)


def extraction_table(error: Mapping[str, Any] | None) -> str:
    """Errors against the truth, when there is one."""
    if error is None:
        return "<p>This recording has no truth beside it, so its errors are not known.</p>"
    rows = [[joint, f"{e['mean']:.0f}", f"{e['p95']:.0f}"] for joint, e in error["joints_mm"].items()]
    rows.append(["fingertips", f"{error['fingertips_mm']['mean']:.0f}", f"{error['fingertips_mm']['p95']:.0f}"])
    rows += [[name, f"{mm:.1f}", ""] for name, mm in error["objects_mm"].items()]
    note = (
        f"Arm lost in {100 * error['arm_lost']:.1f} % of {error['frames']} frames; {error['objects_found']} of "
        f"{error['objects_true']} objects found; {100 * error['attributes_right']:.0f} % of their attributes right."
    )
    return table(["against the truth", "mean [mm]", "p95 [mm]"], rows) + f"<p>{escape(note)}</p>"


def mapping_table(mapping: Mapping[str, Mapping[str, float]]) -> str:
    """Hand and limb errors per robot."""
    rows = [
        [robot, f"{100 * m['observed']:.0f} %",
            f"{100 * m['reachable']:.1f} %", f"{m['position_mm_median']:.3f}", f"{m['position_mm_max']:.3f}",
         f"{m['upper_deg_mean']:.0f}", f"{m['fore_deg_mean']:.0f}", f"{m['branch_changes']}"]
        for robot, m in mapping.items()
    ]  # fmt: skip
    head = [
        "robot",
        "arm seen",
        "frames exact",
        "hand median [mm]",
        "max [mm]",
        "upper arm [deg]",
        "forearm [deg]",
        "branches",
    ]
    return table(head, rows)


def clip_section(clip: Mapping[str, Any]) -> str:
    """What came of one clip of a real person."""
    folder = clip["folder"]
    parts = [f"<h3>{escape(clip['name'])}</h3>"]
    if "frames" in clip:
        parts.append(f"<p>A person in {clip['seen']} of {clip['frames']} frames, {clip['side']} arm.</p>")
        parts.append(picture(folder / "keypoints.png", f"Source: {clip['credit']}."))
    if clip["robots"]:
        parts.append(mapping_table(clip["robots"]))
        parts += [
            picture(folder / f"arms_{robot}.png", f"The person's arm, scaled to the {robot}'s.") for robot in clip["robots"]
        ]
    if "error" in clip:
        parts.append(f"<p class=bad>{escape(clip['error'])}</p>")
    return "".join(parts)


def picture(path: Path, caption: str) -> str:
    """A PNG inside the page."""
    text = escape(caption)
    image = f"<img alt='{text}' src='data:image/png;base64,{_encoded(path)}'>"
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def film(path: Path, caption: str) -> str:
    """An MP4 inside the page."""
    source = f"data:video/mp4;base64,{_encoded(path)}"
    return f"<figure><video controls loop muted src='{source}'></video><figcaption>{escape(caption)}</figcaption></figure>"


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
