"""No module knows the future: points later than the alert, in its light curve and its history, change nothing to the last bit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from fink_broker import past
from fink_broker.contract import columns_of, decoded, params_of, with_others
from fink_broker.sample import ZERO_POINT
from fink_broker.science import Registry, checked
from fink_broker.settings import Settings, data_folder, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REGISTRY = Registry.load(data_folder("science_modules"))
SURVEYS = ("ztf", "lsst")
LATER = {"detection": (1e-3, 0.9, 12.0), "limit": (0.4, 3.0), "forced": (0.7, 29.0)}  # [d] after the alert


def of(survey: str) -> list[str]:
    """Modules that run on alerts of a survey."""
    return [name for name in REGISTRY if {"*", survey} & set(REGISTRY.get(name).surveys)]


@pytest.fixture(scope="module")
def settings(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assert spark
    return load(options={"broker": {"home": str(tmp_path_factory.mktemp("home"))}})


@pytest.fixture(scope="module")
def alerts(settings: Settings, request: pytest.FixtureRequest) -> pd.DataFrame:
    """Neutral and packet columns after the real decoding, and the history: what any module of a survey reads."""
    kinds = [REGISTRY.get(name) for name in of(request.param)]
    columns = dict.fromkeys(column for kind in kinds for column in columns_of(kind, REGISTRY) if column not in past.HISTORY)
    frame = decoded(settings, request.param, 150, tuple(dict.fromkeys(["survey", "band", "mag", *columns, *past.NEEDED])), seed=11)
    frame.loc[0, ["ra", "dec"]] = 10.684708, 41.268751  # M31, which is catalogued
    return pd.concat([frame, past.with_past(frame, past.points_of(frame))], axis=1)


def with_later_points(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Four of five alerts have points of every kind after their own time, brighter and fainter, in their band and in others."""
    rng = np.random.default_rng(seed)
    found = frame.copy()
    for place in range(len(frame)):
        if place % 5 == 4:
            continue
        when = sorted((days, kind) for kind, all_days in LATER.items() for days in all_days)
        mag = frame["mag"][place] + rng.normal(0, 1.5, len(when))
        kind = np.array([kind for _, kind in when], object)
        measured = np.where(kind == "limit", np.nan, 1.0)
        flux = rng.choice([1, -1], len(when), p=[0.8, 0.2]) * 10 ** ((ZERO_POINT - mag) / 2.5) * measured
        bands = np.unique([frame["band"][place], *frame["lightcurve.band"][place]])
        points = {"mjd": frame["mjd"][place] + np.array([days for days, _ in when]), "band": rng.choice(bands.astype(object), len(when)), "flux": flux,
                  "flux_err": np.abs(flux) * 0.05, "mag": mag * measured, "mag_err": 0.05 * measured, "limit_mag": mag + 2, "kind": kind}  # fmt: skip
        for column in frame:
            start, _, name = str(column).partition(".")
            if start in ("lightcurve", "history"):
                found.at[place, column] = np.concatenate([frame[column][place], points[name]])
    return found


def outputs(settings: Settings, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """What a module tells of each alert, every number with all its digits; the modules that it reads are given the same points."""
    module = REGISTRY.get(name)(**params_of(settings, name))
    given = with_others(module, frame, REGISTRY, partial(params_of, settings))
    module.setup()
    return pd.DataFrame({field: list(map(repr, values.to_pylist())) for field, values in checked(module, given, module.process(given.copy())).items()})


@pytest.mark.parametrize(("name", "alerts"), [(name, survey) for survey in SURVEYS for name in of(survey)], indirect=["alerts"])
def test_points_later_than_the_alert_count_for_nothing(name: str, settings: Settings, alerts: pd.DataFrame) -> None:
    print("seeds 11, 3")
    assert alerts["lightcurve.mjd"].map(len).max() > 20
    before, after = outputs(settings, name, alerts), outputs(settings, name, with_later_points(alerts, 3))
    changed = [field for field in before if not before[field].equals(after[field])]
    assert not changed, f"{name} knows of later points in {', '.join(changed)}"
    assert any(before[field].nunique() > 1 for field in before)
