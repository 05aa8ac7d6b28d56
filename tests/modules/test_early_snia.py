"""The rise fit finds what was put in; the score uses no later point."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker.curve import BANDS
from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from science_modules.early_snia import evaluate

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("early_snia")
rise = sys.modules["fink_science_modules.early_snia.rise"]


def bazin(mjd: np.ndarray, start: float, rise_days: float, fall_days: float) -> np.ndarray:
    return np.exp(-(mjd - start) / fall_days) / (1 + np.exp(-(mjd - start) / rise_days))


def alert(mjd: np.ndarray, band: np.ndarray, flux: np.ndarray, err: float) -> dict[str, object]:
    names = {"mjd": mjd, "band": np.array(band, object), "flux": flux, "flux_err": np.full(len(mjd), err), "limit_mag": np.full(len(mjd), np.nan)}
    kind = np.where(flux > 5 * err, "detection", "forced").astype(object)
    return {"mjd": mjd[-1], "lightcurve.kind": kind, **{f"lightcurve.{name}": values for name, values in names.items()}}


def made(start: float = 61020.0, rise_days: float = 4.0, fall_days: float = 22.0, until: float = 61050.0) -> dict[str, object]:
    rng = np.random.default_rng(3)
    mjd = np.sort(rng.uniform(61000, until, 50))
    band = rng.choice(np.array(["g", "r", "i"]), 50)
    height = np.select([band == "g", band == "r"], [10000.0, 20000.0], 16000.0)
    return alert(mjd, band, height * bazin(mjd, start, rise_days, fall_days) + rng.normal(0, 100, 50), 100.0)


def run(*alerts: dict[str, object]) -> pd.DataFrame:
    module = MODULE()
    module.setup()
    return module.process(pd.DataFrame(list(alerts))[list(module.inputs)])


def test_the_peak_is_found() -> None:
    row = made()
    peak = 61020 + 4 * np.log(22 / 4 - 1)
    found = run(row).iloc[0]
    assert found["days_from_peak"] == pytest.approx(row["mjd"] - peak, abs=2.0)  # type: ignore[operator]
    assert found["days_error"] < 2
    early = run(made(until=61022.0)).iloc[0]
    assert early["days_from_peak"] < 1
    assert early["days_error"] > found["days_error"]


def test_colours_at_the_peak_are_those_put_in() -> None:
    row = made()
    points = pd.DataFrame([row])
    from fink_broker import curve

    flat = curve.points(points)
    values = dict(zip(rise.NAMES, rise.features(flat.row, flat.age, flat.band, flat.flux, flat.err, 1)[0], strict=True))
    assert values["peak_gr"] == pytest.approx(2.5 * np.log10(2), abs=0.05)
    assert values["peak_ri"] == pytest.approx(-2.5 * np.log10(20 / 16), abs=0.05)
    assert np.isnan(values["peak_ug"])
    assert values["chi2"] < 1.5  # ln(1 + reduced chi2)
    assert values["chi2_constant"] > 4


def test_features_are_the_same_alone_and_among_many() -> None:
    alerts = sample(MODULE.inputs, 200, 9)
    whole = run(*alerts.to_dict("records"))
    for row in (0, 63, 64, 199):
        one = run(alerts.iloc[row].to_dict())
        assert np.allclose(one.iloc[0].to_numpy(float), whole.iloc[row].to_numpy(float), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_no_later_point_counts() -> None:
    row = made()
    cut = dict(row)
    for name, values in row.items():
        if name.startswith("lightcurve."):
            cut[name] = values[:30]  # type: ignore[index]
    now = cut["lightcurve.mjd"][-1]  # type: ignore[index]
    a, b = run({**row, "mjd": now}).iloc[0], run({**cut, "mjd": now}).iloc[0]
    assert a.equals(b)


def test_the_shapes_are_the_formula() -> None:
    age = np.array([-100.0, -20.0, -3.3, 0.0])
    found = rise._shapes(age)
    for place in (0, 57, 130, len(rise.GRID) - 1):
        start, up, down = rise.GRID[place]
        assert np.allclose(found[:, place], bazin(age, start, up, down), rtol=1e-5)


def test_entropy_is_one_bit_where_the_model_cannot_tell() -> None:
    found = run(*sample(MODULE.inputs, 100, 2).to_dict("records")).dropna(subset=["probability"])
    p = found["probability"].to_numpy()
    assert ((p >= 0) & (p <= 1)).all()
    expected = -(p * np.log2(np.clip(p, 1e-12, 1)) + (1 - p) * np.log2(np.clip(1 - p, 1e-12, 1)))
    assert np.allclose(found["entropy"], expected, atol=1e-6)


def test_nothing_seen_is_null() -> None:
    found = run({**made(), "lightcurve.flux": np.zeros(50)}).iloc[0]
    assert found["n_detections"] == 0
    assert found.drop("n_detections").isna().all()
    assert len(BANDS) == 6


def test_the_comparison_with_fink_is_what_the_readme_says(shared: Path, tmp_path: Path) -> None:
    file = data_folder("science_modules") / "early_snia" / "evaluate.py"
    alerts, truth = evaluate.read(shared / "alerts" / "elasticc" / "elasticc_fink_20230208")
    module = MODULE()
    module.setup()
    ours = module.process(alerts[list(module.inputs)])["probability"].fillna(0).to_numpy(float)
    good = truth["is_ia"].to_numpy()
    readme = (file.parent / "README.md").read_text()
    scores = {"early_snia": ours, **{name: truth[column].to_numpy(float) for name, column in evaluate.FINK.items()}}
    found = evaluate.parts(truth)
    assert sum(mine.sum() for mine in list(found.values())[1:6]) == len(truth)  # each alert is in one of the parts by detections
    for title, mine in found.items():
        assert f"\n{title}: {mine.sum()}, {good[mine].sum()} of type Ia\n" in readme
        for name, score in scores.items():
            assert evaluate.line(name, good[mine], score[mine]) in readme
    assert any(one.startswith("2 to 3 detections, 95 % purity: early_snia 2.3 %, Fink's random forest 2.5 %") for one in evaluate.behind(truth, scores))
    evaluate.plot(truth, scores, tmp_path / "roc.png")
    assert (tmp_path / "roc.png").stat().st_size < 150_000
    assert evaluate.roc_auc(good, ours) > 0.1 + max(evaluate.roc_auc(good, truth[column].to_numpy(float)) for column in evaluate.FINK.values())


def test_efficiency_is_the_largest_share_a_threshold_keeps() -> None:
    truth = np.array([True, True, False, True, False, False])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    assert evaluate.efficiency(truth, score, 0.95) == pytest.approx(2 / 3)
    assert evaluate.efficiency(truth, score, 0.75) == 1
    assert evaluate.efficiency(truth, np.zeros(6), 0.6) == 0  # equal scores cannot be parted


def test_labelled_alerts_are_learned_beside_the_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skl2onnx")
    from fink_broker.errors import ConfigError
    from science_modules.early_snia import train

    rising = [made(start=61020 + 0.2 * k, until=61030 + 0.4 * k) for k in range(40)]
    frame = pd.DataFrame(rising)[list(train.curve.INPUTS)]
    frame.assign(is_ia=False).to_parquet(tmp_path / "labelled.parquet")
    frame.to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(ConfigError, match="has no is_ia; expected the columns mjd, "):
        train.labelled(tmp_path / "bare.parquet")
    chances = {}
    for name, more in (("without", []), ("with", ["--labelled", str(tmp_path / "labelled.parquet")])):
        monkeypatch.setattr("sys.argv", ["train", "--things", "300", "--seed", "3", "--out", str(tmp_path / name), *more])
        train.main()
        module = MODULE(models=str(tmp_path / name))
        module.setup()
        chances[name] = module.process(frame)["probability"].to_numpy()
    assert "40 labelled alerts, 0 of type Ia, each as heavy as 10 simulated ones" in capsys.readouterr().out
    assert (chances["with"] < 0.1).mean() > 0.9
    assert chances["with"].mean() < chances["without"].mean()


def test_labels_are_asked_for_where_the_forest_cannot_tell() -> None:
    from science_modules.early_snia import learning, train

    rng = np.random.default_rng(2)
    values = rng.normal(size=(4000, 4))
    good = values[:, 0] > 1.2  # the border is where few alerts are
    test = np.arange(4000) < 1000
    asked: list[np.ndarray] = []

    def grow(rows: np.ndarray, told: np.ndarray, seed: int) -> object:
        asked.append(rows)
        return train.grown(rows, told, seed)

    found = [learning.curve(grow, values, good, test, 1, by) for by in (False, True)]
    assert list(found[0]) == list(range(100, 1001, 100))
    assert found[0][100] == found[1][100]  # both begin with the same
    assert found[1][1000] > 0.99
    near = [(np.abs(rows[:, 0] - 1.2) < 0.3).mean() for rows in (asked[9], asked[19])]
    assert near[1] > 1.5 * near[0]
