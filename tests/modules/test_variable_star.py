"""Periods put in are found; fits and false-alarm probabilities are those of astropy, and of noise; the trees are those that were trained."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.timeseries import LombScargle, LombScargleMultiband

from fink_broker import curve
from fink_broker.model import Onnx
from fink_broker.past import with_past
from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from fink_broker.skysim import light_curves

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("variable_star")
periods = sys.modules["fink_science_modules.variable_star.periods"]


def alert(rng: np.random.Generator, period_days: float, amplitude: float, number: int = 80, days: float = 90.0) -> dict[str, object]:
    """A sine of one period in g and r, differently bright in them, with noise of 100 nJy."""
    mjd = np.sort(61000 + rng.uniform(0, days, number))
    band = rng.choice(np.array(["g", "r"], object), number)
    flux = np.where(band == "g", 4000, 9000) + np.where(band == "g", 1.4, 1.0) * amplitude * np.sin(2 * np.pi * mjd / period_days) + rng.normal(0, 100, number)
    row: dict[str, object] = {
        "mjd": mjd[-1], "ra": 150.0, "dec": 20.0, "neighbour_distance_arcsec": 0.3, "neighbour_star_score": 0.99, "n_detections": number, "first_mjd": mjd[0],
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
    found, used = periods.fold(curve.points(pd.DataFrame([alert(rng, period_days, 1500.0) for _ in range(8)]), prefix="history"), 12)
    assert np.allclose(1 / found.frequency[:, 0], period_days, rtol=0.01)
    assert (found.false_alarm < 1e-6).all()
    assert (found.left["two"][:, 0] < 0.2).all()
    assert (np.diff(found.left["one"], axis=1) >= 0).all()
    assert len(used.value) == 8 * 80


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


def levelled(rng: np.random.Generator) -> tuple[object, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two light curves of several bands as the fits take them; times, values, weights and bands of the second."""
    both = curve.points(pd.DataFrame([alert(rng, 0.7, 300.0), alert(rng, 2.3, 200.0, 50)]), prefix="history")
    _, used = periods.fold(both, 12)
    mine = used.place == 1
    return used, used.time[mine], used.value[mine], used.weight[mine], used.points.band[mine]


def test_the_fit_is_a_linear_least_squares_fit() -> None:
    used, time, value, weight, band = levelled(np.random.default_rng(3))
    frequency = np.array([[0.1, 0.2], [0.37, 0.43]])
    left, heights, level = periods._fit(used, frequency, 2)
    turns = 2 * np.pi * 0.43 * time
    waves = np.column_stack([np.cos(turns), np.sin(turns), np.cos(2 * turns), np.sin(2 * turns)])
    bands = np.column_stack([band == 1, band == 2]).astype(float)
    root, held = np.sqrt(weight)[:, None], np.hstack([np.eye(4), np.zeros((4, 2))]) * np.sqrt(1e-3 * weight.sum())
    expected, *_ = np.linalg.lstsq(np.vstack([root * np.hstack([waves, bands]), held]), np.append(root[:, 0] * value, np.zeros(4)), rcond=None)
    assert heights[1, 1] == pytest.approx(expected[:4], abs=1e-9)
    assert level[used.first_group[1] :, 1] == pytest.approx(expected[4:], abs=1e-9)
    residual = (weight * (value - np.hstack([waves, bands]) @ expected) ** 2).sum() + 1e-3 * weight.sum() * (expected[:4] ** 2).sum()
    assert left[1, 1] == pytest.approx(residual / (weight * value**2).sum(), abs=1e-9)


def test_waves_are_those_of_astropys_multiband_periodogram() -> None:
    used, time, value, weight, band = levelled(np.random.default_rng(4))
    frequency = np.linspace(0.3, 0.6, 40)
    ours = 1 - periods._fit(used, np.stack([frequency, frequency]), 1)[0][1]
    model = LombScargleMultiband(time, value, band, dy=weight**-0.5, nterms_base=1, nterms_band=0, reg_base=None, reg_band=1e-6)
    assert ours == pytest.approx(model.power(frequency, method="flexible", sb_method=None), abs=0.01)  # ours holds heights back by 0.2 %


def test_the_trees_are_those_that_were_trained(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    ensemble = pytest.importorskip("sklearn.ensemble")
    from science_modules.variable_star.trees import onnx_file

    rng = np.random.default_rng(12)
    table = rng.normal(size=(600, 5)).round(1).astype(np.float32)  # many values stand on a threshold
    for classes in (2, 3):
        wanted = rng.integers(0, classes, 600) * (table[:, 0] > 0)
        model = ensemble.HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=7, random_state=1).fit(table, wanted)
        (tmp_path / "trees.onnx").write_bytes(onnx_file(model, 5))
        (found,) = Onnx(tmp_path / "trees.onnx")(table)
        expected = model.predict_proba(table)
        assert found == pytest.approx(expected if classes > 2 else expected[:, 1:], abs=1e-5)


def test_periods_of_simulated_stars_are_chosen_better_than_by_the_highest_wave() -> None:
    print("seed 77")
    alerts, truth = light_curves(600, "ztf", seed=77, at="last", mix={"rr_lyrae": 1})
    alerts = pd.concat([alerts, with_past(alerts)], axis=1)
    module = MODULE()
    module.setup()
    found = module.process(alerts[list(module.inputs)])
    folds, _ = sys.modules["fink_science_modules.variable_star"].folded(alerts, 12)
    period = truth["period_days"].to_numpy()[folds.row]
    stars = found.iloc[folds.row]
    assert len(stars) > 60
    right = np.abs(stars["period_days"].to_numpy() * np.where(stars["class"] == "eclipsing binary", 0.5, 1) / period - 1) < 0.02
    highest = np.abs(1 / folds.frequency[:, 0] / period - 1) < 0.02
    assert right.mean() > 0.45
    assert right.mean() > highest.mean() + 0.1
    assert (stars["class"] == "RR Lyrae").mean() > 0.75
    assert stars["period_probability"].mean() == pytest.approx(right.mean(), abs=0.12)


def test_stars_watched_many_times_a_night_in_one_band_are_told() -> None:
    print("seed 78")
    alerts, truth = light_curves(600, "ztf", seed=78, mix={"rr_lyrae": 1, "long_period_variable": 1}, dense_share=1.0)
    alerts = pd.concat([alerts, with_past(alerts)], axis=1)
    module = MODULE()
    module.setup()
    found = module.process(alerts[list(module.inputs)])
    in_one = (alerts["history.band"].map(lambda bands: len(set(bands))) == 1) & found["class"].notna()
    rr_lyrae = (truth["kind"] == "rr_lyrae") & in_one
    assert rr_lyrae.sum() > 50
    assert (found["class"] == "RR Lyrae")[rr_lyrae].mean() > 0.85  # 2.0, which did not know such fields: 0.72
    assert (found["class"] == "long-period variable")[in_one & ~rr_lyrae].mean() > 0.75


def test_cut_light_curves_are_parts_of_the_whole_that_can_be_folded() -> None:
    from science_modules.variable_star.cadence import cut

    print("seed 9")
    alerts, _ = light_curves(300, "ztf", seed=9, mix={"rr_lyrae": 1}, dense_share=0.5)
    alerts = pd.concat([alerts, with_past(alerts)], axis=1)
    chosen = np.arange(len(alerts)) % 3 > 0
    less, shorter = cut(alerts, chosen, np.random.default_rng(9))
    assert shorter.sum() > 40
    assert not shorter[~chosen].any()
    bands, days, number = [], [], []
    for (_, one), (_, other), changed in zip(alerts.iterrows(), less.iterrows(), shorter, strict=True):
        whole = list(zip(one["history.mjd"], one["history.band"], one["history.kind"], strict=True))
        left = list(zip(other["history.mjd"], other["history.band"], other["history.kind"], strict=True))
        assert left == [point for point in whole if point in set(left)]
        assert (len(left) < len(whole)) == changed
        assert whole[-1] in left
        if changed:
            bands.append(len(set(other["history.band"])))
            days.append(left[-1][0] - left[0][0])
            number.append(len(left))
    assert 0.3 < np.mean(np.array(bands) == 1) < 0.95
    assert min(days) < 10
    assert max(days) > 20
    assert min(number) >= 12
    folds, _ = sys.modules["fink_science_modules.variable_star"].folded(less[shorter].reset_index(drop=True), 12)
    assert len(folds.row) == shorter.sum()
    again, _ = cut(alerts, chosen, np.random.default_rng(9))
    assert all(np.array_equal(one, other) for one, other in zip(less["history.mjd"], again["history.mjd"], strict=True))


def test_periods_of_catalogued_stars_are_found() -> None:
    from science_modules.variable_star import catalogued

    known = catalogued.stars()
    found = run(*catalogued.alerts(known).to_dict("records"))
    near, right = catalogued.recovered(known, found["period_days"]), (found["class"] == known["class"]).to_numpy()
    rr_lyrae = (known["class"] == "RR Lyrae").to_numpy()
    assert len(known) == 29
    assert near[rr_lyrae].sum() >= 15  # of 18; the chances that the module gives say 15.3
    assert near[~rr_lyrae].sum() >= 8  # of 11
    assert right.sum() >= 25
    off = np.abs(found["period_days"] / known["period_days"] - 1)[near & rr_lyrae]
    assert off.max() < 1e-4  # ten years of points tell a period well, once it is the right one


def test_a_sine_on_a_star_is_periodic_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    found = run(*(alert(rng, 0.55, 2500.0) for _ in range(10)), *(alert(rng, 0.55, 0.0) for _ in range(10)))
    assert (found["periodic"][:10] > 0.5).mean() > 0.7
    assert found["periodic"][:10].mean() > found["periodic"][10:].mean() + 0.3


def test_a_template_of_another_time_changes_nothing() -> None:
    alerts = [alert(np.random.default_rng(seed), 0.55, 2500.0) for seed in range(5)]
    moved = [one | {"history.flux": one["history.flux"] + np.where(one["history.band"] == "g", 3000.0, -7777.0)} for one in alerts]  # type: ignore[operator]
    one, other = run(*alerts), run(*moved)
    assert one["class"].tolist() == other["class"].tolist()
    for name in ("probability", "period_days", "period_probability", "amplitude", "false_alarm_probability"):
        assert np.allclose(one[name], other[name], rtol=1e-4, atol=1e-12)


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
        assert one.to_dict() == whole.iloc[row].to_dict()
