"""Performance profiles of `bench irl`: how many runs of each method reach how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from visual_irl.evaluation.pictures import save_figure

PANELS = {
    "success_profile": "the policy learned with the reward",
    "reoptimised_success_profile": "fresh policies on the reward",
}


def plot_profiles(path: Path, summary: dict[str, Any]) -> None:
    """Draw the profiles in a summary of `irl_bench`: share of runs above each success, for policies and for fresh ones."""
    figure = Figure(figsize=(10, 3.8))
    axes = figure.subplots(1, 2, sharey=True)
    methods = list(summary["methods"])
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for k, method in enumerate(methods):
            profile = summary["methods"][method][name]
            if profile is not None:
                axis.step(
                    summary["profile_thresholds"], profile, where="post", color=f"C{k}", label=method.replace("_", " "), lw=2
                )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("success above")
        axis.set_ylim(-0.03, 1.03)
        axis.legend(fontsize=8, loc="lower left")
    axes[0].set_ylabel("share of runs")
    figure.suptitle(f"{summary['task']}, {summary['demos']} demonstrations, {summary['seeds']} seeds", fontsize=10)
    save_figure(figure, path)
