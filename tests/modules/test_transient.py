"""The network sees what it should: the last visits, those before spread out, nothing later."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import data_folder
from fink_broker.skysim import light_curves
from tests.modules.ztf_packets import columns

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("transient")
transient = sys.modules["fink_science_modules.transient"]
series = sys.modules["fink_science_modules.transient.series"]


def alert(number: int, now: float | None = None) -> dict[str, object]:
    mjd = 61000.0 + np.arange(number)
    row: dict[str, object] = dict.fromkeys(MODULE.inputs, np.nan) | {
        "mjd": mjd[-1] if now is None else now, "ra": 10.0, "dec": 20.0, "flux": 1000.0, "snr": 10.0, "first_mjd": 61000.0, "n_detections": number,
        "ss_object_id": None, "lightcurve.mjd": mjd, "lightcurve.band": np.array((["g", "r"] * number)[:number], object),
        "lightcurve.flux": 1000.0 + mjd % 100, "lightcurve.flux_err": np.full(number, 50.0), "lightcurve.limit_mag": np.full(number, np.nan),
        "lightcurve.kind": np.full(number, "detection", object),
    }  # fmt: skip
    return row


def run(*alerts: dict[str, object]) -> pd.DataFrame:
    module = MODULE()
    module.setup()
    return module.process(pd.DataFrame(list(alerts))[list(module.inputs)])


@pytest.mark.parametrize("number", [1, 5, 20, 21, 32, 33, 100, 399])
def test_the_last_visits_and_a_choice_of_those_before(number: int) -> None:
    points, mask, about, some = series.series(pd.DataFrame([alert(number)]))
    assert points.shape == (1, series.LENGTH, series.WIDTH)
    assert about.shape == (1, series.CONTEXT)
    assert some.tolist() == [True]
    used = mask[0] > 0
    assert used.sum() == min(number, series.LENGTH)
    age = np.expm1(3 * points[0, used, 0])
    assert np.allclose(age[-min(number, series.LAST) :], np.arange(min(number, series.LAST))[::-1], atol=1e-3)
    assert (np.diff(age) < 0).all()
    assert not points[0, ~used].any()
    if number == 399:
        assert age[0] > 350


def test_no_later_point_counts() -> None:
    whole, cut = alert(60, now=61030.0), alert(31, now=61030.0)
    cut["n_detections"] = whole["n_detections"]
    assert run(whole).equals(run(cut))


def test_probabilities_are_probabilities_and_the_class_is_the_likeliest() -> None:
    alerts = sample(MODULE.inputs, 300, 3)
    found = run(*alerts.to_dict("records"))
    chances = found[list(transient.CLASSES)].to_numpy()
    assert np.allclose(chances.sum(axis=1), 1, atol=1e-5)
    assert (found["class"].to_numpy() == np.array(list(transient.CLASSES.values()))[chances.argmax(axis=1)]).all()
    assert (found["probability"] == chances.max(axis=1)).all()
    assert found["entropy"].between(0, np.log2(14) + 1e-6).all()


def test_an_alert_is_the_same_alone_and_among_many() -> None:
    alerts = sample(MODULE.inputs, 300, 5)
    whole = run(*alerts.to_dict("records"))
    for row in (0, 255, 256, 299):
        one = run(alerts.iloc[row].to_dict())
        assert np.allclose(one[list(transient.CLASSES)].iloc[0], whole[list(transient.CLASSES)].iloc[row], atol=1e-5)


def test_nothing_known_is_null() -> None:
    empty = alert(3) | {name: np.array([]) for name in MODULE.inputs if name.startswith("lightcurve.")}
    assert run(empty).isna().all(axis=None)


def test_the_graph_is_what_was_trained() -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    from science_modules import _graph
    from science_modules.transient import network

    rng = np.random.default_rng(1)
    w = network.weights(rng, 14)
    points = rng.normal(size=(5, series.LENGTH, series.WIDTH)).astype(np.float32)
    mask = (rng.random((5, series.LENGTH)) < 0.6).astype(np.float32)
    about = rng.normal(size=(5, series.CONTEXT)).astype(np.float32)
    graph = _graph.OnnxGraph()
    session = onnxruntime.InferenceSession(graph.model(network.network(graph, w, *network.INPUTS, 1.3), network.INPUTS))
    found = session.run(None, {"points": points, "mask": mask, "about": about})[0]
    logits = np.asarray(network.network(_graph.Jax(), w, points, mask, about, 1.3))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(found, expected, atol=1e-4)
    hidden = points.copy()
    hidden[mask == 0] = 9
    again = session.run(None, {"points": hidden, "mask": mask, "about": about})[0]
    assert np.allclose(found, again, atol=1e-5)  # what is masked does not count


def test_real_asteroids_quasars_and_artefacts_are_found(shared: Path) -> None:
    from science_modules import _real

    files = sorted((shared / "alerts" / "ztf" / "labelled").glob("fink_night_20240115_part*.parquet"))
    packets = [packet for packet in _real.packets(files) if _real.as_sent(packet)]
    for packet in packets:
        packet["prv_candidates"] = [*(packet["prv_candidates"] if packet["prv_candidates"] is not None else ())]
    module = MODULE()
    module.setup()
    found = module.process(columns(packets)[list(module.inputs)])["class"].to_numpy()
    known = np.array([packet["candidate"]["ssnamenr"] not in (None, "null") and 0 <= packet["candidate"]["ssdistnr"] <= 5 for packet in packets])
    assert known.sum() > 100
    assert (found[known] == "asteroid").all()
    quasars = np.array([packet["cdsxmatch"] == "QSO" for packet in packets]) & ~known
    assert quasars.sum() > 20
    assert (found[quasars] == "AGN").mean() > 0.75
    good = np.array([packet["candidate"]["rb"] > 0.65 and packet["candidate"]["drb"] > 0.9 for packet in packets]) & ~known
    assert good.sum() > 200
    assert (found[good] == "bogus").mean() < 0.07
    bad = np.array([packet["candidate"]["drb"] < 0.1 for packet in packets]) & ~known
    assert (found[bad] == "bogus").mean() > 0.8


def test_evaluation_gives_alerts_as_the_jobs_do(shared: Path) -> None:
    from science_modules import _real

    for name in ("ztf_v4_02_fink_topics_20231018_b.tar.xz", "ztf_v3_2_simulator_20181129.tar.xz"):
        packets = list(_real.packets([shared / "alerts" / "ztf" / name]))
        found, expected = pd.DataFrame([_real.row(packet) for packet in packets]), columns(packets)
        for column in MODULE.inputs:
            for one, other in zip(found[column], expected[column], strict=True):
                if column in ("ss_object_id", "lightcurve.band", "lightcurve.kind"):
                    assert np.array_equal(one, other), column
                elif column != "lightcurve.limit_mag":  # of upper limits alone, where it counts
                    assert np.allclose(one, np.asarray(other, float), rtol=1e-4, equal_nan=True), column


def test_who_is_counted_together() -> None:
    from science_modules.transient import evaluate

    own = {"ssnamenr": "null", "ssdistnr": -999.0, "rb": 0.8, "drb": 0.99, "ndethist": 1}
    packets: list[dict[str, object]] = [
        {"candidate": own, "cdsxmatch": "QSO"},
        {"candidate": own | {"ssnamenr": "12", "ssdistnr": 1.0}, "cdsxmatch": "QSO"},
        {"candidate": own | {"drb": None, "ndethist": 7}, "cdsxmatch": "EB*"},
        {"candidate": own | {"rb": 0.3, "drb": 0.02}},
    ]
    found = {name: (meant, np.flatnonzero(mine).tolist()) for name, (meant, mine) in evaluate.groups(packets).items()}
    assert found["known asteroid"] == ("asteroid", [1])
    assert found["quasar"] == ("AGN", [0])
    assert found["eclipsing binary"] == ("periodic variable", [2])
    assert found["rb above 0.65"][1] == [0, 2]
    assert found["… and drb above 0.9"][1] == [0]
    assert found["… and no drb"][1] == [2]
    assert found["first alert, rb above 0.65"][1] == [0]
    assert found["drb below 0.1"] == ("bogus", [3])


def test_the_light_in_the_template_is_told_or_said_to_be_unknown() -> None:
    fluxes, told = [1000.0, -1000.0, 1000.0, 1e8, 1000.0], [1e5, 1e5, -40.0, -40.0, np.nan]
    frame = pd.DataFrame([alert(3) | {"flux": flux, "template_flux": under} for flux, under in zip(fluxes, told, strict=True)])
    _, _, about, _ = series.series(frame)
    assert about[:, 24].tolist() == [1, 1, 1, 1, 0]
    assert about[:, 25] == pytest.approx([np.log1p(1000) / 5, np.log1p(1000) / 5, 0, 0, 0], rel=1e-6)
    assert about[:, 26] == pytest.approx([np.arcsinh(0.1) / 3, -np.arcsinh(0.1) / 3, np.arcsinh(100) / 3, np.arcsinh(1e7) / 3, 0], rel=1e-5)
    assert np.abs(about[:, 24:]).max() < 6


def test_what_stands_beside_is_varied_as_packets_differ() -> None:
    from science_modules.transient import train

    rng = np.random.default_rng(3)
    print("seed 3")
    frame = pd.concat([pd.DataFrame([alert(5)])] * 2000, ignore_index=True)
    frame["n_detections"], frame["first_mjd"], frame["reliability"], frame["template_flux"] = 300, 60000.0, 0.999, 5000.0
    _, _, about, _ = series.series(frame)
    before = about.copy()
    found = train.varied(about, np.arange(2000) < 1000, rng)
    assert np.array_equal(about, before)
    known, number = found[:, 11] > 0, np.expm1(4 * found[:, 12])
    score = 1 / (1 + np.exp(-4 * found[:, 10]))
    assert known.mean() == pytest.approx(0.7, abs=0.05)
    assert (score[:1000][known[:1000]] < 0.99).mean() == pytest.approx(train.SHALLOW_SHARE, abs=0.05)
    assert np.allclose(score[1000:][known[1000:]], 0.999, atol=1e-4)
    hidden = found[:, 24] == 0
    assert hidden.mean() == pytest.approx(0.2, abs=0.04)
    assert not found[hidden, 24:].any()
    assert np.array_equal(found[~hidden, 24:], before[~hidden, 24:])
    assert ((number > 4.99) & (number < 300.1)).all()
    assert (number < 299).mean() == pytest.approx(train.YOUNG_SHARE, abs=0.05)
    assert np.expm1(4 * found[:, 13]).min() >= 3.99


def test_points_left_out_for_training_are_bands_or_nights_and_never_the_own_visit() -> None:
    from science_modules.transient import train

    frame = pd.concat([pd.DataFrame([alert(40) | {"band": "r"}])] * 300, ignore_index=True)  # its last point, of 40 in g and r by turns, is in r
    chosen = np.arange(300) < 200
    print("seed 4")
    found = train.scarcer(frame, chosen, np.random.default_rng(4))
    assert all(len(mjd) == 40 for mjd in frame["lightcurve.mjd"])
    assert all(len(mjd) == 40 for mjd in found["lightcurve.mjd"][~chosen])
    assert all(mjd[-1] == now for mjd, now in zip(found["lightcurve.mjd"], found["mjd"], strict=True))
    assert all(len(found[f"lightcurve.{name}"][0]) == len(found["lightcurve.mjd"][0]) for name in ("band", "flux", "flux_err", "limit_mag", "kind"))
    one_band = np.array([len(mjd) == 20 and set(band) == {"r"} for mjd, band in zip(found["lightcurve.mjd"], found["lightcurve.band"], strict=True)])
    assert one_band[chosen].mean() == pytest.approx(train.ONE_BAND, abs=0.1)
    assert not one_band[~chosen].any()


def test_a_survey_that_has_just_begun_knows_nothing_older() -> None:
    from science_modules.transient import train

    print("seed 5")
    frame, _ = light_curves(200, "lsst", 5, mix={"AGN": 1, "periodic variable": 1}, models="built-in")
    chosen = np.arange(200) < 150
    found = train.begun(frame, chosen, np.random.default_rng(5))
    age, before = (one["mjd"] - one["first_mjd"] for one in (found, frame))
    assert (age[chosen] <= train.BEGUN_DAYS[1]).all()
    assert (age <= before).all()
    assert (before > train.BEGUN_DAYS[1])[chosen].sum() > 30
    assert (found["n_detections"] >= 1).all()
    assert (found["n_detections"] <= frame["n_detections"]).all()
    for row in range(200):
        mjd, kind = found["lightcurve.mjd"][row], found["lightcurve.kind"][row]
        assert mjd[-1] == found["mjd"][row]
        assert len(found["lightcurve.flux"][row]) == len(mjd) == len(kind)
        if chosen[row]:
            assert mjd[0] == found["first_mjd"][row]
            assert (kind == "detection").sum() == found["n_detections"][row]
        else:
            assert len(mjd) == len(frame["lightcurve.mjd"][row])


def made_arrays(number: int, seed: int) -> dict[str, np.ndarray]:
    """As train.sample makes them: the class of ZTF's alerts is told by magnitude, of LSST's by the contrary."""
    rng = np.random.default_rng(seed)
    survey, label = rng.random(number) < 0.5, rng.integers(0, 2, number)
    simple = np.column_stack([np.where((label == 1) == survey, 18.0, 21.0) + rng.normal(0, 0.3, number), *rng.normal(size=(5, number))])
    return {"survey": survey, "label": label, "simple": simple, "about": rng.normal(size=(number, 3)).astype(np.float32),
            "days": 10 ** rng.uniform(-1, 2.5, number), "mag": rng.uniform(17, 24, number), "redshift": np.where(label == 1, np.nan, 0.15)}  # fmt: skip


def test_rules_learn_each_survey_by_itself_and_the_gain_is_over_the_best(tmp_path: Path) -> None:
    from science_modules.transient import tables

    learned, data = made_arrays(4000, 1), made_arrays(3000, 2)
    rules = tables.baselines(learned, np.arange(4000))
    for name, rule in rules.items():
        assert (rule(data) == data["label"]).mean() > 0.98, name  # one rule for both surveys could not
    chances = np.full((3000, 14), 0.001)
    chances[np.arange(3000), data["label"]] = 0.987
    chances[:300, :] = np.roll(chances[:300], 1, axis=1)  # a tenth is wrong
    lines = tables.report(rules, data, chances, np.arange(3000))
    head = [one.strip() for one in lines[0].split("|")[1:-1]]
    first = dict(zip(head, (one.strip() for one in lines[2].split("|")[1:-1]), strict=True))
    assert (first["survey"], first["alerts of"], int(first["number"])) == ("ZTF", "all", data["survey"].sum())
    assert float(first["gain"]) == pytest.approx(float(first["accuracy"]) - max(float(first[name]) for name in tables.RULES), abs=0.0015)
    assert sum("| days " in line for line in lines) == 2 * len(tables.DAYS)
    rows = tables.confusions(data, chances)
    assert [title.split(" (")[0] for title in rows] == ["ZTF, first 3 days", "ZTF, later", "LSST, first 3 days", "LSST, later"]
    assert all(np.allclose(table[:2].sum(axis=1), 1) for table in rows.values())
    assert all(file.stat().st_size > 1000 for file in tables.plots(rules, data, chances, tmp_path))


def test_a_host_galaxy_changes_what_is_told_of_elasticc_alerts(shared: Path) -> None:
    from science_modules.transient import evaluate

    module = MODULE()
    module.setup()
    rows = evaluate.host_table(shared / "alerts" / "elasticc" / "elasticc_fink_20230208", module)[2:]
    readme = (data_folder("science_modules") / "transient" / "README.md").read_text()
    assert all(row in readme for row in rows)
