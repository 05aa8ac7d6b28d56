"""Periods put in are found; false-alarm probabilities are those of astropy, and of noise."""

import sys

import numpy as np
import pandas as pd
import pytest
from astropy.timeseries import LombScargle

from fink_broker import curve
from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import data_folder

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("variable_star")
periods = sys.modules["fink_science_modules.variable_star.periods"]


def alert(rng: np.random.Generator, period_days: float, amplitude: float, number: int = 80, days: float = 90.0) -> dict[str, object]:
    """A sine of one period in g and r, differently bright in them, with noise of 100 nJy."""
    mjd = np.sort(61000 + rng.uniform(0, days, number))
    band = rng.choice(np.array(["g", "r"], object), number)
    flux = np.where(band == "g", 4000, 9000) + np.where(band == "g", 1.4, 1.0) * amplitude * np.sin(2 * np.pi * mjd / period_days) + rng.normal(0, 100, number)
    row: dict[str, object] = {
        "mjd": mjd[-1], "neighbour_distance_arcsec": 0.3, "neighbour_star_score": 0.99, "n_detections": number, "first_mjd": mjd[0],
        "history.mjd": mjd, "history.band": band, "history.flux": flux, "history.flux_err": np.full(number, 100.0),
        "history.limit_mag": np.full(number, np.nan), "history.kind": np.full(number, "detection", object),
    }  # fmt: skip
    return row


def run(*alerts: dict[str, object]) -> pd.DataFrame:
    module = MODULE()
    module.setup()
    return module.process(pd.DataFrame(list(alerts))[list(module.inputs)])


@pytest.mark.parametrize("period_days", [0.31, 0.5512, 2.77, 11.3, 27.0])
def test_periods_are_found(period_days: float) -> None:
    rng = np.random.default_rng(5)
    print("seed 5")
    found, used, _ = periods.fold(curve.points(pd.DataFrame([alert(rng, period_days, 1500.0) for _ in range(8)]), prefix="history"), 12)
    assert np.allclose(1 / found.frequency, period_days, rtol=0.01)
    assert (found.false_alarm < 1e-6).all()
    assert (found.chi2[:, 1] < 0.2).all()
    assert len(used.row) == 8 * 80


def test_amplitudes_are_those_put_in() -> None:
    found = run(*(alert(np.random.default_rng(seed), 0.7, 1500.0) for seed in range(6)))
    expected = np.where(found["amplitude_band"] == "g", 2100.0, 1500.0)
    assert np.allclose(found["amplitude"], expected, rtol=0.1)
    assert (found["n_points"] == 80).all()


def test_noise_gives_false_alarms_as_often_as_they_say() -> None:
    rng = np.random.default_rng(8)
    print("seed 8")
    found = run(*(alert(rng, 1.0, 0.0) for _ in range(300)))["false_alarm_probability"].to_numpy()
    assert (found < 0.05).mean() < 0.08
    assert (found < 0.01).mean() < 0.03
    assert (found > 0.1).mean() > 0.5


def test_false_alarms_are_astropys() -> None:
    rng = np.random.default_rng(2)
    for power in (0.1, 0.25, 0.5):
        time = np.sort(rng.uniform(0, 50, 60))
        ours = periods.false_alarm(np.array([power]), np.array([60]), time, np.zeros(60, int))[0]
        theirs = LombScargle(time, rng.normal(size=60)).false_alarm_probability(power, method="baluev", maximum_frequency=periods.HIGHEST)
        assert ours == pytest.approx(float(theirs), rel=1e-3)


def test_the_fit_is_a_linear_least_squares_fit() -> None:
    rng = np.random.default_rng(3)
    time, value, frequency = np.sort(rng.uniform(0, 30, 40)), rng.normal(size=40), 0.37
    left, heights = periods._harmonics(time, value, np.zeros(40, int), np.array([0]), np.array([[frequency]]), 2)
    turns = 2 * np.pi * frequency * time
    matrix = np.column_stack([np.ones(40), np.cos(turns), np.sin(turns), np.cos(2 * turns), np.sin(2 * turns)])
    expected, residual, *_ = np.linalg.lstsq(matrix, value, rcond=None)
    assert heights[0, 0] == pytest.approx(expected[1:], abs=1e-4)
    assert left[0, 0] == pytest.approx(residual[0] / (value**2).sum(), abs=1e-5)


def test_a_sine_on_a_star_is_periodic_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    found = run(*(alert(rng, 0.55, 2500.0) for _ in range(10)), *(alert(rng, 0.55, 0.0) for _ in range(10)))
    assert (found["periodic"][:10] > 0.5).mean() > 0.7
    assert found["periodic"][:10].mean() > found["periodic"][10:].mean() + 0.3


def test_few_points_are_null() -> None:
    rng = np.random.default_rng(6)
    found = run(alert(rng, 0.5, 1000.0, 11), alert(rng, 0.5, 1000.0, 30, days=1.0), alert(rng, 0.5, 1000.0, 30))
    assert found["class"].notna().tolist() == [False, False, True]
    assert found.iloc[0].isna().all()


def test_an_alert_is_the_same_alone_and_among_many() -> None:
    alerts = sample(MODULE.inputs, 150, 12)
    whole = run(*alerts.to_dict("records"))
    chosen = np.flatnonzero(whole["class"].notna())[:4]
    assert len(chosen)
    for row in chosen:
        one = run(alerts.iloc[row].to_dict()).iloc[0]
        assert one["class"] == whole["class"][row]
        assert one["period_days"] == pytest.approx(whole["period_days"][row])
