"""In which ways an arm can pour: first each act is looked at alone, then the whole path; of the first few the most human one.

What is `possible` is only likely so: a way is looked at in few of its frames (`visual_irl.mapping.feasibility`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from visual_irl.errors import NoPathFound
from visual_irl.mapping.feasibility import Outlook
from visual_irl.policy.pour_loop import PourLoop, PourView
from visual_irl.policy.pour_path import Way, ways
from visual_irl.types import HandPlan

COMPARED = 8
"""Ways that can be gone of which the most human one is taken."""
MOST = 3000
"""Looks at what an arm would do after which no further way is sought: the same on any machine, and minutes at most."""
STRANGE = 0.05
"""Unlikeness of the limbs that a radian of strangeness of the way counts as [rad]."""


def possible_ways(
    loop: PourLoop,
    view: PourView,
    acts: Sequence[str],
    outlook: Callable[[HandPlan, bool], Outlook],
    now: Way | None,
    reasons: list[str],
) -> Iterator[Way]:
    """Ways that look possible for some acts, by a few at a time the most human first; to `reasons` is added why others do not.

    `outlook` tells how a plan looks, which begins where the arm is if it is told so. The way that was chosen before, `now`,
    goes before all while the vessel is held.

    Raises:
        NoPathFound: after `MOST` looks, once those that look possible until then were given.
    """
    looks = 0

    def looked(plan: HandPlan, from_here: bool) -> Outlook:
        nonlocal looks
        looks += 1
        return outlook(plan, from_here)

    if now is not None and view.held:
        yield now
    known: dict[tuple[str, Way], str] = {}
    begun: dict[Way, Outlook] = {}
    batch: list[tuple[float, Way]] = []
    for way in ways():
        if looks >= MOST:
            break
        if now is not None and view.held and (way == now or _in_hand(way) != _in_hand(now)):
            continue
        for act in acts:
            special = _special(act, way)
            if (act, special) not in known:
                known[act, special] = looked(loop.excerpt(view, special, act), act == "take").obstacle
            if known[act, special]:
                reasons.append(f"{act}: {known[act, special]}")
                break
        else:
            start = replace(way, dispose=0.0)
            if len(acts) > 2 and start not in begun:  # many ways begin alike
                begun[start] = looked(loop.whole(view, start, acts[:-1]), True)
            if start in begun and not begun[start].follows:
                reasons.append(begun[start].obstacle)
                continue
            whole = looked(loop.whole(view, way, acts), True)
            if whole.obstacle:
                reasons.append(whole.obstacle)
                continue
            batch.append((whole.unlikeness + STRANGE * way.strangeness, way))
            if len(batch) == COMPARED:
                yield from (w for _, w in sorted(batch, key=lambda row: row[0]))
                batch.clear()
    yield from (w for _, w in sorted(batch, key=lambda row: row[0]))
    if looks >= MOST:
        raise NoPathFound(f"{acts[0]}: after {looks} looks at what the arm would do no further way is sought")


def _in_hand(way: Way) -> tuple[float, bool, float, float]:
    """What of a way cannot be changed while the vessel is in the hand."""
    return way.take, way.flipped, way.raised, way.pitch


def _special(act: str, way: Way) -> Way:
    """What of a way matters for an act alone."""
    kept = Way(flipped=way.flipped, raised=way.raised, pitch=way.pitch)
    if act == "pour":
        return replace(kept, pour=way.pour, mirrored=way.mirrored)
    return replace(kept, **{act: getattr(way, act)})
