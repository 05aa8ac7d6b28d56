"""Each module against an independent calculation or a value worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fink_broker.catalog_import import import_catalog
from fink_broker.errors import NotFound
from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from tests.modules.curves import alerts, point

REGISTRY = Registry.load(data_folder("science_modules"))


def run(name: str, frame: pd.DataFrame, **params: object) -> pd.DataFrame:
    module = REGISTRY.get(name)(**params)
    module.setup()
    return module.process(frame[list(module.inputs)])


def test_features_are_scipys_and_numpys() -> None:
    rng = np.random.default_rng(21)
    mags = rng.uniform(17, 19, 30)
    curve = [point(60000 + i + rng.uniform(0, 0.5), mag, "g") for i, mag in enumerate(mags)]
    out = run("features", alerts(curve)).iloc[0]
    flux, err = (np.array([p[name] for p in curve]) for name in ("flux", "flux_err"))
    assert out["amplitude_g"] == pytest.approx((flux.max() - flux.min()) / 2, rel=1e-6)
    assert out["standard_deviation_g"] == pytest.approx(flux.std(ddof=1), rel=1e-6)
    assert out["skew_g"] == pytest.approx(stats.skew(flux, bias=False), rel=1e-5)
    assert out["kurtosis_g"] == pytest.approx(stats.kurtosis(flux, bias=False), rel=1e-5)
    assert out["median_absolute_deviation_g"] == pytest.approx(stats.median_abs_deviation(flux), rel=1e-6)
    assert out["weighted_mean_g"] == pytest.approx(np.average(flux, weights=1 / err**2), rel=1e-6)
    assert out["mean_g"] == pytest.approx(flux.mean(), rel=1e-6)
    assert out["median_g"] == pytest.approx(np.median(flux), rel=1e-6)
    assert out["beyond_1_std_g"] == pytest.approx((np.abs(flux - flux.mean()) > flux.std(ddof=1)).mean())
    mjd = np.array([p["mjd"] for p in curve])
    (slope, _), covariance = np.polyfit(mjd - mjd.mean(), flux, 1, w=1 / err, cov="unscaled")
    assert out["slope_g"] == pytest.approx(slope, rel=1e-5)
    assert out["slope_err_g"] == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-5)
    assert out["reduced_chi2_g"] == pytest.approx((((flux - np.average(flux, weights=err**-2)) / err) ** 2).sum() / 29, rel=1e-5)
    assert out["eta_g"] == pytest.approx((np.diff(flux) ** 2).sum() / 29 / flux.var(ddof=1), rel=1e-5)
    assert np.isnan(out["amplitude_r"])


def test_features_need_four_detections_at_different_times() -> None:
    three = [point(60000.0 + i, 18.0 + i) for i in range(3)]
    frame = alerts(three, [*three, point(60002.0, 17.0)], [*three, point(60003.0, 17.0)], [*three, point(60003.0, kind="limit")])
    assert run("features", frame)["amplitude_r"].notna().tolist() == [False, False, True, False]


def test_features_of_a_constant_source_are_null_where_they_are_not_defined() -> None:
    out = run("features", alerts([point(60000.0 + i, 18.0) for i in range(6)])).iloc[0]
    assert out["amplitude_r"] == 0
    assert np.isnan(out["skew_r"])
    assert np.isfinite(out["weighted_mean_r"])


def rates_one_by_one(row: pd.Series, min_days: float, max_days: float, fit_days: float) -> dict[str, float]:
    """The module's docstring, done with loops."""
    names = ("mjd", "band", "mag", "mag_err", "flux", "limit_mag", "kind")
    points = sorted((dict(zip(names, values, strict=True)) for values in zip(*(row[f"lightcurve.{n}"] for n in names), strict=True)), key=lambda p: p["mjd"])
    points = [p for p in points if p["mjd"] <= row["mjd"] + 1e-9]
    found = {"age_days": row["mjd"] - row["first_mjd"]}
    for band in "ugrizy":
        mine = [p for p in points if p["band"] == band and p["kind"] == "detection"]
        if not mine:
            continue
        last = mine[-1]
        alike = [p for p in mine if np.sign(p["flux"]) == np.sign(last["flux"])]
        before = [p for p in alike if min_days <= last["mjd"] - p["mjd"] <= max_days]
        if before:
            days = last["mjd"] - before[-1]["mjd"]
            found[f"rate_{band}"] = (last["mag"] - before[-1]["mag"]) / days
            found[f"rate_err_{band}"] = np.hypot(last["mag_err"], before[-1]["mag_err"]) / days
            if band == row["band"]:
                found |= {"days": days, "rate": found[f"rate_{band}"], "rate_err": found[f"rate_err_{band}"]}
        if last["flux"] > 0:
            peak = min(alike, key=lambda p: p["mag"])
            if peak["mjd"] - alike[0]["mjd"] >= min_days:
                found[f"rise_{band}"] = (peak["mag"] - alike[0]["mag"]) / (peak["mjd"] - alike[0]["mjd"])
            if last["mjd"] - peak["mjd"] >= min_days:
                found[f"fade_{band}"] = (last["mag"] - peak["mag"]) / (last["mjd"] - peak["mjd"])
        if band == row["band"]:
            recent = [p for p in alike if last["mjd"] - p["mjd"] <= fit_days]
            x, y, err = (np.array([p[n] for p in recent]) for n in ("mjd", "mag", "mag_err"))
            if len(recent) >= 3 and np.average((x - np.average(x, weights=err**-2)) ** 2, weights=err**-2) > min_days**2 / 4:
                (found["fit_rate"], _), covariance = np.polyfit(x - last["mjd"], y, 1, w=1 / err, cov="unscaled")
                found["fit_rate_err"] = covariance[0, 0] ** 0.5
            earlier = [p for p in points if p["band"] == band and p["kind"] != "forced" and last["mjd"] - p["mjd"] >= min_days]
            if earlier and earlier[-1]["kind"] == "limit" and last["flux"] > 0 and earlier[-1]["limit_mag"] > last["mag"]:
                days = last["mjd"] - earlier[-1]["mjd"]
                if days <= max_days:
                    found["limit_rate"] = (last["mag"] - earlier[-1]["limit_mag"]) / days
    return found


def test_rates_are_those_of_a_loop() -> None:
    print("seed 31")
    kind = REGISTRY.get("magnitude_rate")
    frame = sample(kind.inputs, 400, 31)
    out = run("magnitude_rate", frame)
    expected = pd.DataFrame([rates_one_by_one(row, 0.02, 30.0, 10.0) for _, row in frame.iterrows()]).reindex(columns=out.columns)
    assert out.notna().equals(expected.notna())
    assert np.allclose(out.to_numpy(float), expected.to_numpy(float), rtol=1e-6, equal_nan=True)
    assert (out.notna().sum()[["rate", "fit_rate", "limit_rate", "rise_g", "fade_i"]] > 10).all()
    assert not (out.filter(like="rise_") > 0).any(axis=None)
    assert not (out.filter(like="fade_") < 0).any(axis=None)


def test_rates_are_differences_of_the_last_two_detections() -> None:
    curve = [point(60000, 19.0, "r", 0.03), point(60001, 18.9, "g"), point(60002, 18.4, "r", 0.04), point(60004, 18.0, "r", 0.03)]
    out = run("magnitude_rate", alerts(curve)).iloc[0]
    assert out["rate"] == pytest.approx(-0.2)
    assert out["rate_err"] == pytest.approx(np.hypot(0.03, 0.04) / 2)
    assert out["rate_r"] == pytest.approx(-0.2)
    assert np.isnan(out["rate_g"])
    assert out["age_days"] == 4
    again = run("magnitude_rate", alerts(curve)).iloc[0]
    assert again.equals(run("magnitude_rate", alerts(curve)).iloc[0])


def test_a_limit_before_the_detection_bounds_the_rate() -> None:
    out = run("magnitude_rate", alerts([point(60000, kind="limit", limit=20.5), point(60001, 18.5)])).iloc[0]
    assert out["limit_rate"] == pytest.approx(-2.0)
    assert np.isnan(out["rate"])
    fainter = run("magnitude_rate", alerts([point(60000, kind="limit", limit=18.0), point(60001, 18.5)])).iloc[0]
    assert np.isnan(fainter["limit_rate"])


def test_rates_of_opposite_sign_are_not_mixed() -> None:
    assert np.isnan(run("magnitude_rate", alerts([point(60000, 18, sign=-1), point(60001, 18)])).iloc[0]["rate"])


def test_solar_system_objects() -> None:
    one = [point(60000)]
    frame = alerts(
        one, one, one, one,
        ss_object_id=["1234", "1234", None, None], ss_distance_arcsec=[1.0, 12.0, np.nan, np.nan], n_detections=[1, 1, 1, 5],
        neighbour_distance_arcsec=[8.0, 0.5, 8.0, 8.0], neighbour_star_score=[0.1, 0.9, 0.1, 0.1],
    )  # fmt: skip
    out = run("solar_system", frame)
    assert out["known"].tolist() == [True, False, False, False]
    assert out["candidate"].tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("curve", "near", "score", "ss", "passes"),
    [
        ([point(60000.0), point(60000.1)], 3.0, 0.9, None, True),
        ([point(60000.1), point(60000.0)], 3.0, 0.9, None, True),  # exactly two detections, times not in order
        ([point(60000.0), point(60000.01)], 3.0, 0.9, None, False),  # 14 minutes apart
        ([point(60000.0)], 3.0, 0.9, None, False),  # no history
        ([point(60000.0), point(60001.0)], 1.0, 0.9, None, False),  # star
        ([point(60000.0), point(60001.0)], 1.0, 0.3, None, True),  # galaxy
        ([point(60000.0), point(60001.0)], np.nan, np.nan, None, True),  # nothing near
        ([point(60000.0), point(60001.0)], 3.0, 0.9, 2.0, False),  # asteroid
        ([point(60000.0), point(60001.0)], 3.0, 0.9, 9.0, True),
        ([point(60000.0, sign=-1), point(60001.0)], 3.0, 0.9, None, False),  # one of them negative
        ([point(60000.0), point(60001.0, sign=-1)], 3.0, 0.9, None, False),
    ],
)
def test_extragalactic_cut(curve: list[dict[str, object]], near: float, score: float, ss: float | None, passes: bool) -> None:
    frame = alerts(curve, neighbour_distance_arcsec=[near], neighbour_star_score=[score], ss_object_id=["1" if ss else None], ss_distance_arcsec=[ss or np.nan])
    frame["mjd"] = max(one["mjd"] for one in curve)
    assert run("extragalactic", frame)["passes"].tolist() == [passes]


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"rb": 0.6}, False),
        ({"nbad": 1}, False),
        ({"fwhm": 5.1}, False),
        ({"elong": 1.3}, False),
        ({"magdiff": -0.2}, False),
        ({"rb": np.nan}, None),
    ],
)
def test_purity(changed: dict[str, float], passes: bool | None) -> None:
    values = {"rb": 0.65, "nbad": 0, "fwhm": 5.0, "elong": 1.2, "magdiff": 0.1, **changed}
    frame = pd.DataFrame({f"packet.candidate.{name}": [value] for name, value in values.items()})
    assert run("purity", frame)["passes"].tolist() == [passes]


def test_cross_match_tells_the_nearest_of_all_catalogues(tmp_path: Path) -> None:
    (tmp_path / "three.csv").write_text("ra,dec,name,class\n10.0,20.0,one,BLL\n10.001,20.0,two,FSRQ\n")
    (tmp_path / "wide.csv").write_text("ra,dec,name\n10.0009,20.0,cluster\n10.5,20.0,other\n")
    import_catalog(tmp_path / "three.csv", tmp_path / "cat", radius_arcsec=5)
    import_catalog(tmp_path / "wide.csv", tmp_path / "cat", radius_arcsec=60)
    frame = pd.DataFrame({"ra": [10.00091, 10.684708, 100.0, 10.51, np.nan], "dec": [20.0, 41.268751, 0.0, 20.0, 1.0]})
    out = run("xmatch", frame, folder=str(tmp_path / "cat"))
    assert out["catalog"].tolist() == ["wide", "bright", None, "wide", None]
    assert out["name"].tolist() == ["cluster", "M31", None, "other", None]
    assert out["class"].tolist() == [None, "Galaxy", None, None, None]
    assert out["distance_arcsec"].round(2).fillna(-1).tolist() == [0.03, 0.01, -1, 33.83, -1]
    assert out["matches"].tolist() == [["three:FSRQ:two:0.30", "wide::cluster:0.03"], ["bright:Galaxy:M31:0.01"], [], ["wide::other:33.83"], []]
    only = run("xmatch", frame, folder=str(tmp_path / "cat"), catalogs=["three"], bright=False)
    assert only["name"].tolist() == ["two", None, None, None, None]


def test_a_catalogue_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no catalogue named 'gaia'"):
        run("xmatch", pd.DataFrame({"ra": [1.0], "dec": [1.0]}), folder=str(tmp_path), catalogs=["gaia"])


def test_the_template_works() -> None:
    import importlib.util

    file = data_folder("science_modules") / "_template.py"
    spec = importlib.util.spec_from_file_location("template", file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    out = made.Template().process(pd.DataFrame({"lightcurve.mag": [np.array([18.0, np.nan, 17.0]), np.array([18.0]), np.array([])]}))
    assert out["amplitude_mag"].fillna(-1).tolist() == [0.5, -1, -1]
    assert out["n_points"].tolist() == [2, 1, 0]


def test_the_readme_names_every_module_and_parameter() -> None:
    text = (data_folder("science_modules") / "README.md").read_text()
    for name in REGISTRY:
        assert f"| `{name}` |" in text
        for parameter in REGISTRY.get(name).parameters():
            assert f"`{parameter}`" in text, f"{name}.{parameter}"
