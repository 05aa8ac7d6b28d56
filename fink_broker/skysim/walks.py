"""Damped random walks along light curves."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats, Ints


def walk(rng: np.random.Generator, who: Ints, mjd: Floats, tau_days: Floats) -> Floats:
    """A damped random walk of unit variance for each thing, exact at its visits (Kelly et al. 2009, ApJ 698, 895, eqs. 2 to 4).

    Points are in order of thing and time. All things take their first step together, then their second, …
    """
    if not len(who):
        return np.zeros(0)
    noise = rng.normal(size=len(who))
    first = np.flatnonzero(np.concatenate([[True], who[1:] != who[:-1]]))
    length = np.diff(np.concatenate([first, [len(who)]]))
    kept = np.zeros(len(who))
    kept[1:] = np.exp(-np.maximum(mjd[1:] - mjd[:-1], 0) / tau_days[who[1:]])
    kept[first] = 0.0
    kicks = noise * np.sqrt(1 - kept**2)
    found = np.empty(len(who))
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
