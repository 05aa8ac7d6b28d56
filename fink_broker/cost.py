"""What science modules cost together: CPU an alert, each module with its `where`, as the jobs run them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fink_broker import contract
from fink_broker.jobs import steps
from fink_broker.science import Chain, Registry
from fink_broker.settings import Settings
from fink_broker.survey import load_survey, load_surveys

BATCH = 2000  # alerts that Spark gives to Python at once


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds an alert, averaged over all alerts, asked or not; `together` includes checks and the way to Arrow."""

    survey: str
    alerts: int
    together: float
    modules: dict[str, float]  # of each module alone
    asked: dict[str, float]  # share of the alerts that each is given

    def __str__(self) -> str:
        """One line."""
        each = ", ".join(f"{name} {ms:.3f} ({self.asked[name]:.0%})" for name, ms in sorted(self.modules.items(), key=lambda pair: -pair[1]))
        return f"{'together':<18}{self.survey:<10}{self.together:.3f} ms of CPU an alert, {self.alerts:,} alerts, each with its `where` (share of them): {each}"


def costs(
    settings: Settings, names: Sequence[str] | None = None, surveys: Sequence[str] | None = None, number: int = 300, paths: Sequence[Path] = (),
    seconds: float = 1.0,
) -> Iterator[Cost]:  # fmt: skip
    """Cost of modules (none: all that are installed) on alerts of each survey, made up or read from `paths`; the best of as many runs as the time allows."""
    registry = Registry.load(settings.modules_path)
    params = {name: contract.params_of(settings, name) for name in names or registry}
    for survey in surveys or list(load_surveys(settings.schemas_path)):
        chain = Chain(registry, list(names or registry), params, survey, settings.science.budget_seconds, "fail")
        about = load_survey(settings.schemas_path, survey)
        with contract.alert_rows(settings, survey, number, paths=paths) as rows:
            inputs, selected = steps.given(rows, chain, about)
            frame = rows.select(inputs.alias("c"), selected.alias("m"), "reason").select("c.*", "m.*", "reason").toPandas()
        frame = frame[frame.pop("reason").isna()].reset_index(drop=True)
        if frame.empty:
            continue
        given = frame[[f"c{place}" for place in range(len(chain.columns))]].set_axis(list(chain.columns), axis=1)
        asked = frame[[f"m{place}" for place in range(len(chain.conditions))]].set_axis(list(chain.conditions), axis=1)
        batches = [slice(start, start + BATCH) for start in range(0, len(frame), BATCH)]
        parts = [(given[one].reset_index(drop=True), asked[one].reset_index(drop=True)) for one in batches]
        full = [pd.concat([one, chain.run(one, mask)], axis=1) for one, mask in parts]
        masks = [mask for _, mask in parts]
        together = _best(chain, parts, seconds)
        alone = {}
        for name in chain.names:
            alone[name] = _best(chain.alone(name), list(zip(full, masks, strict=True)), seconds / 4)
        share = {name: float(asked[name].mean()) for name in chain.names}
        yield Cost(survey, len(frame), together / len(frame), {name: ms / len(frame) for name, ms in alone.items()}, share)


def _best(chain: Chain, parts: Sequence[tuple[pd.DataFrame, pd.DataFrame]], seconds: float) -> float:
    """CPU milliseconds of the fastest run over all parts, after one that loads the models."""
    chain.arrays(*parts[0])
    best, until = math.inf, time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < until:
        started = time.process_time()
        for part in parts:
            chain.arrays(*part)
        best = min(best, time.process_time() - started)
    return 1000 * best
