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
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    methods = list(summary["methods"])
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for k, method in enumerate(methods):
            profile = summary["methods"][method][name]
            if profile is not None:
                width = 2.0 + 1.5 * (len(methods) - 1 - k)  # one that lies below another shows beside it
                x = summary["profile_thresholds"]
                axis.step(x, profile, where="post", color=f"C{k}", label=method.replace("_", " "), lw=width)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("success above")
        axis.set_ylim(-0.06, 1.06)
    axes[0].set_ylabel("share of runs")
    axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    seeds = summary["seeds"]
    figure.suptitle(
        f"{summary['task']}, {summary['demos']} demonstrations, {seeds} seed{'' if seeds == 1 else 's'}", fontsize=10
    )
    save_figure(figure, path)
