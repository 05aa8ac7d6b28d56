"""Light curves of the simulated sky: as many as asked for, the same for the same seed, of the survey's form, and true to physics."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fink_broker.errors import ConfigError
from fink_broker.skysim import BLOCK, KINDS, LABELS, Sky, light_curves, shares
from fink_broker.skysim.lightcurves import PARAMETERS
from fink_broker.skysim.observation import true_noise
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.schedule import schedule
from fink_broker.survey import NEUTRAL

POINTS = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")
SURVEYS = ("ztf", "lsst", "elasticc")


@pytest.fixture(scope="module", params=SURVEYS)
def sky(request: pytest.FixtureRequest) -> Sky:
    return Sky(request.param, 5, "even", models="built-in")


@pytest.fixture(scope="module")
def drawn(sky: Sky) -> tuple[pd.DataFrame, pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return light_curves(1500, sky.survey, sky_model=sky)


def test_columns_are_the_neutral_ones(drawn: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame, truth = drawn
    assert len(frame) == len(truth) == 1500
    neutral = {{"time": "mjd", "first_time": "first_mjd"}.get(name, name) for name in NEUTRAL}
    assert neutral | {"survey", "night", "healpix", "quality"} | {f"lightcurve.{name}" for name in POINTS} == set(frame)
    assert frame["alert_id"].is_unique
    assert set(truth["label"]) == set(LABELS)
    assert len(set(truth["kind"])) > 20
    assert tuple(truth.columns[6:]) == PARAMETERS


def test_points_are_in_time_order_and_end_with_the_alert(sky: Sky, drawn: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for row in drawn[0].itertuples(index=False):
        alert = dict(zip(drawn[0].columns, row, strict=True))
        mjd, kind, flux = alert["lightcurve.mjd"], alert["lightcurve.kind"], alert["lightcurve.flux"]
        assert (np.diff(mjd) >= 0).all()
        assert mjd[-1] == alert["mjd"]
        assert kind[-1] == "detection"
        assert flux[-1] == alert["flux"]
        assert mjd[0] > alert["mjd"] - sky.site.history_days
        assert np.isnan(flux[kind == "limit"]).all()
        assert np.isfinite(flux[kind != "limit"]).all()
        detected = kind == "detection"
        assert (np.abs(flux[detected]) >= 5 * alert["lightcurve.flux_err"][detected]).all()
        assert {"ztf": True}.get(sky.survey, False) == bool((kind == "limit").any() or np.isfinite(alert["lightcurve.limit_mag"]).any())


def test_the_seed_decides_bit_for_bit_and_blocks_stand_alone(sky: Sky) -> None:
    frame, truth = light_curves(2 * BLOCK, sky.survey, sky_model=sky)
    again = Sky(sky.survey, 5, "even", models="built-in")
    later, later_truth = light_curves(BLOCK, sky.survey, first=1, sky_model=again)
    pd.testing.assert_frame_equal(frame[BLOCK:].reset_index(drop=True), later, check_exact=True)
    pd.testing.assert_frame_equal(truth[BLOCK:].reset_index(drop=True), later_truth, check_exact=True)
    other, _ = light_curves(20, sky.survey, seed=6, models="built-in")
    assert not set(np.round(other["ra"], 9)) & set(np.round(frame["ra"], 9))


def test_all_alerts_of_a_thing_agree(sky: Sky) -> None:
    frame, truth = light_curves(300, sky.survey, sky_model=sky, at="all")
    assert truth["thing"].nunique() == 300
    assert len(frame) > 300
    for _, part in frame.groupby(truth["thing"].to_numpy()):
        assert part["mjd"].is_monotonic_increasing
        early, late = part.iloc[0], part.iloc[-1]
        if truth.loc[part.index[0], "label"] == "asteroid":
            continue
        assert (part["n_detections"].diff().dropna() >= 1).all()
        known = dict(zip(late["lightcurve.mjd"], late["lightcurve.flux"], strict=True))
        if early["mjd"] in known:
            assert early["mjd"] in late["lightcurve.mjd"]


def test_first_and_last_alerts(sky: Sky) -> None:
    first, _ = light_curves(200, sky.survey, sky_model=sky, at="first")
    last, _ = light_curves(200, sky.survey, sky_model=sky, at="last")
    assert (first["object_id"].fillna("") == last["object_id"].fillna("")).all()
    assert (first["mjd"] <= last["mjd"]).all()


def test_supernovae_are_as_bright_as_they_should_be() -> None:
    model = Sky("ztf", 2, {"SN Ia": 1.0}, models="built-in")
    frame, truth = light_curves(BLOCK, "ztf", sky_model=model)
    near = np.abs(frame["mjd"] - truth["peak_mjd"]) < 4
    expected = truth["peak_mag"] + 2.3 * truth["ebv"]  # about, in r: no K correction
    seen = near & (frame["band"] == "r") & (truth["redshift"] < 0.12)
    assert seen.sum() > 10
    assert np.abs(np.median((frame["mag"] - expected)[seen])) < 0.4
    assert truth["absolute_mag"].between(-20.6, -17).all()
    assert truth["redshift"].between(0.005, 0.32).all()


def test_variables_repeat_with_their_period() -> None:
    model = Sky("ztf", 3, {"rr_lyrae": 1.0}, days=130, models="built-in")
    seen = model.block(0, 60)[0]
    lines = []
    for thing in range(60):
        part = slice(seen.begin[thing], seen.end[thing])
        r = seen.band[part] == 1
        phase = seen.mjd[part][r] / seen.things.truth["period_days"][thing] % 1
        flux = seen.flux[part][r][np.argsort(phase)]
        if r.sum() > 30:
            lines.append(np.abs(np.diff(flux)).sum() / np.abs(np.diff(seen.flux[part][r])).sum())
    assert np.median(lines) < 0.6  # folded, the light runs smoothly


def test_some_fields_of_ztf_are_watched_many_times_a_night() -> None:
    plain, half, dense = (schedule(ZTF, 61000.0, 90.0, 6, share) for share in (0.0, 0.5, 1.0))
    visits = [[one.mjd[begin : begin + count] for begin, count in zip(one.start, one.count, strict=True)] for one in (plain, half)]
    assert np.mean([np.array_equal(*both) for both in zip(*visits, strict=True) if len(both[0])]) == pytest.approx(0.5, abs=0.08)  # the others are as they were
    most, bands = [], []
    for begin, count in zip(dense.start, dense.count, strict=True):
        mjd, band = dense.mjd[begin : begin + count], dense.band[begin : begin + count]
        most.append(np.bincount(np.floor(mjd - 61000 + 0.3).astype(int), minlength=1).max())
        bands.append(len(np.unique(band)))
    assert np.mean(np.array(most) > 12) > 0.3
    assert 0.25 < np.mean(np.array(bands) == 1) < 0.6
    assert (np.diff(dense.mjd[dense.start[3] : dense.start[3] + dense.count[3]]) >= 0).all()


def test_what_was_seen_before() -> None:
    """Artefacts that come once are new, those of stars are not; a variable star seen once may be new, one seen often is not."""
    frame, truth = light_curves(1500, "ztf", seed=6, at="last", mix={"bogus": 1, "eclipsing_binary": 1}, models="built-in")
    new = frame["n_detections"] == 1
    age = frame["mjd"] - frame["first_mjd"]
    assert (age[new] == 0).all()
    assert new[truth["alone"] == 1].mean() > 0.8
    assert new[truth["alone"] == 0].mean() < 0.3
    star = truth["kind"] == "eclipsing_binary"
    assert 0 < new[star].mean() < 0.2
    assert (age[star & (frame["n_detections"] > 50)] > 3 * 365).all()


def test_mixes(sky: Sky) -> None:
    even = shares("even", sky.site)
    by_label = {label: sum(even[name] for name, kind in KINDS.items() if kind.label == label) for label in LABELS}
    assert np.allclose(list(by_label.values()), 1 / len(LABELS))
    assert shares({"SN Ia": 3, "agn": 1}, ZTF) == {"agn": 0.25, "sn_ia": 0.75}
    natural = shares("natural", LSST)
    assert natural["kilonova"] < natural["tde"] < natural["sn_ia"] < natural["asteroid"]
    with pytest.raises(ConfigError, match="unknown kind nova; known: sn_ia"):
        shares({"nova": 1}, ZTF)
    with pytest.raises(ConfigError, match="expected natural, even, or weights"):
        shares("odd", ZTF)
    with pytest.raises(ConfigError, match="expected random, first, last, all"):
        light_curves(1, at="never")
    with pytest.raises(ConfigError, match="no simulated sky for survey 'atlas'"):
        Sky("atlas")
    with pytest.raises(ConfigError, match="expected sncosmo, built-in or auto"):
        Sky("ztf", models="other")


def test_fluxes_scatter_less_than_told_in_the_dark_and_more_on_bright_stars() -> None:
    err, under = np.array([100.0, 500.0, 5500.0]), np.array([0.0, 0.0, 1e6])
    assert np.allclose(true_noise(ZTF, err, under), [65.0, 325.0, 14000.0])
    assert np.allclose(true_noise(LSST, err, under), [100.0, 500.0, np.sqrt(5500**2 - 300**2 + 6000**2)])
