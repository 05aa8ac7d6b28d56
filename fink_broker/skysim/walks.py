"""Damped random walks along light curves."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats, Ints


def walk(rng: np.random.Generator, who: Ints, mjd: Floats, tau_days: Floats, smooth_days: Floats | None = None) -> Floats:
    """A damped random walk of unit variance for each thing, exact at its visits (Kelly et al. 2009, ApJ 698, 895, eqs. 2 to 4).

    With `smooth_days` what follows the walk that far behind (shorter than `tau_days`): smooth over shorter times, of a little less variance.
    Points are in order of thing and time. All things take their first step together, then their second, …
    """
    if not len(who):
        return np.zeros(0)
    noise = rng.normal(size=len(who))
    first = np.flatnonzero(np.concatenate([[True], who[1:] != who[:-1]]))
    length = np.diff(np.concatenate([first, [len(who)]]))
    days = np.zeros(len(who))
    days[1:] = np.maximum(mjd[1:] - mjd[:-1], 0)
    kept = np.exp(-days / tau_days[who])
    kept[first] = 0.0
    kicks = noise * np.sqrt(1 - kept**2)
    if smooth_days is None:
        return _stepped(first, length, kept, kicks)
    behind = rng.normal(size=len(who))
    fast, slow = 1 / smooth_days[who], 1 / tau_days[who]
    share = fast / (fast - slow)
    held = np.exp(-fast * days)
    drawn = share * (np.exp(-slow * days) - held)  # of the walk a step ago

    def summed(rate: Floats) -> Floats:  # of 2 slow exp(-rate u) over the step; all time before the first
        left: Floats = np.exp(-rate * days)
        left[first] = 0.0
        return 2 * slow * (1 - left) / rate

    both = share * (summed(2 * slow) - summed(slow + fast))  # covariance of the two kicks
    own = share**2 * (summed(2 * slow) - 2 * summed(slow + fast) + summed(2 * fast))
    held[first], drawn[first] = 0.0, 0.0
    spread = 1 - kept**2
    with np.errstate(divide="ignore", invalid="ignore"):
        tied = np.where(spread > 0, both / np.sqrt(spread), 0.0)
    late = tied * noise + np.sqrt(np.maximum(own - tied**2, 0)) * behind
    ahead = _stepped(first, length, kept, kicks)
    before = np.concatenate([[0.0], ahead[:-1]])
    return _stepped(first, length, held, drawn * before + late)


def _stepped(first: Ints, length: Ints, kept: Floats, kicks: Floats) -> Floats:
    """Of each thing's points, each `kept` times the one before it, and its kick."""
    found = np.empty(len(kept))
    order = np.argsort(-length, kind="stable")
    first, length = first[order], length[order]
    state = np.zeros(len(first))
    alive = len(first)
    for step in range(int(length[0])):
        while alive and length[alive - 1] <= step:
            alive -= 1
        at = first[:alive] + step
        state[:alive] = state[:alive] * kept[at] + kicks[at]
        found[at] = state[:alive]
    return found
