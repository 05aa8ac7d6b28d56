"""What a label is worth: forests that ask for labels by entropy or at random, tested on alerts kept apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.model import roc_auc

START, BATCH, STEPS = 100, 100, 9  # labels to begin with, of a batch, batches
WIDER = 3  # a batch is drawn from so many times as many alerts of the highest entropy, since the very highest are much alike
Grow = Callable[[NDArray[np.float64], NDArray[np.bool_], int], Any]  # rows, whether each is of type Ia, seed -> a forest


def curve(grow: Grow, values: NDArray[np.float64], good: NDArray[np.bool_], test: NDArray[np.bool_], seed: int, by_entropy: bool) -> dict[int, float]:
    """ROC AUC on the `test` rows by number of labels, which are asked for among the other rows; the same seed begins with the same labels."""
    rng = np.random.default_rng(seed)
    left = rng.permutation(np.flatnonzero(~test))
    known, left = left[:START], left[START:]
    found = {}
    for step in range(STEPS + 1):
        forest = grow(values[known], good[known], seed)
        found[len(known)] = roc_auc(good[test], forest.predict_proba(values[test])[:, 1])
        if step < STEPS:
            some = left
            if by_entropy:
                chance = np.clip(forest.predict_proba(values[left])[:, 1], 1e-12, 1 - 1e-12)
                entropy = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
                some = left[np.argsort(-entropy, kind="stable")[: WIDER * BATCH]]
            new = rng.choice(some, BATCH, replace=False)
            known, left = np.concatenate([known, new]), np.setdiff1d(left, new)
    return found


def table(grow: Grow, values: NDArray[np.float64], good: NDArray[np.bool_], test: NDArray[np.bool_], seeds: range) -> list[str]:
    """Lines of a table: ROC AUC at random and by entropy, means over seeds, and the difference with its standard error."""
    made = [[curve(grow, values, good, test, seed, by) for by in (False, True)] for seed in seeds]
    lines = ["| labels | at random | by entropy | difference |", "|---|---|---|---|"]
    for number in made[0][0]:
        pairs = np.array([[one[number] for one in pair] for pair in made])
        change = pairs[:, 1] - pairs[:, 0]
        error = change.std(ddof=1) / np.sqrt(len(change))
        lines.append(f"| {number} | {pairs[:, 0].mean():.4f} | {pairs[:, 1].mean():.4f} | {change.mean():+.4f} ± {error:.4f} |")
    return lines
