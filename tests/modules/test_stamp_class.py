"""Cutouts are read as astropy reads them; the middle stays the middle; missing ones are null."""

import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from fink_broker.science import Registry
from fink_broker.settings import data_folder
from science_modules._baseline import cuts
from science_modules.stamp_class import evaluate

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("stamp_class")
stamps = sys.modules["fink_science_modules.stamp_class.stamps"]


def packed(image: np.ndarray, zipped: bool = False) -> bytes:
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(image), fits.ImageHDU(image * 0, name="UNCERT")]).writeto(file)
    return gzip.compress(file.getvalue()) if zipped else file.getvalue()


def alert(size: int = 63, peak: float = 500.0, zipped: bool = True, seed: int = 1) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    x = np.arange(size) - size // 2
    source = peak * np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / 3)
    images = {name: packed((rng.normal(0, 10, (size, size)) + (source if "template" not in name else 0)).astype(np.float32), zipped) for name in stamps.NAMES}
    return {"ra": 150.0, "dec": 2.0, "flux": 2000.0, "snr": 20.0, "neighbour_distance_arcsec": np.nan, "neighbour_star_score": np.nan, **images}


def run(*alerts: dict[str, object]) -> pd.DataFrame:
    module = MODULE()
    module.setup()
    return module.process(pd.DataFrame(list(alerts))[list(module.inputs)])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("zipped", [True, False])
def test_images_are_those_of_astropy(kind: type, zipped: bool) -> None:
    image = np.arange(48 * 63).reshape(48, 63).astype(kind)
    assert np.array_equal(stamps.image(packed(image, zipped)), image)


@pytest.mark.parametrize("value", [None, b"", b"\x1f\x8bbroken", b"SIMPLE  = T", np.nan])
def test_what_is_no_image_is_none(value: object) -> None:
    assert stamps.image(value) is None


@pytest.mark.parametrize("shape", [(63, 63), (30, 30), (31, 31), (48, 63), (71, 71)])
def test_the_middle_stays_in_the_middle(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).normal(0, 1, shape)
    image[shape[0] // 2, shape[1] // 2] = 1000
    found = stamps.middle(stamps.scaled(image))
    assert found.shape == (stamps.SIDE, stamps.SIDE)
    assert np.unravel_index(found.argmax(), found.shape) == (stamps.SIDE // 2, stamps.SIDE // 2)
    image[0] = np.nan
    assert np.isfinite(stamps.middle(stamps.scaled(image))).all()
    assert not stamps.middle(stamps.scaled(np.full(shape, np.nan))).any()


def test_the_scale_of_an_image_does_not_count() -> None:
    image = np.random.default_rng(2).normal(100, 5, (63, 63))
    assert np.allclose(stamps.scaled(image), stamps.scaled(image * 40 + 7), atol=1e-5)


def test_what_else_goes_on_is_told_without_the_middle() -> None:
    image = np.zeros((63, 63), np.float32)
    image[31, 31], image[10, 50], image[50, 3] = 9, 5, -4
    assert stamps.around(image) == (5, -4)


def test_probabilities_and_nulls() -> None:
    found = run(alert(), alert(size=41, zipped=False), {**alert(), "cutout_template": None})
    chances = found[["bogus", "asteroid", "transient", "agn", "variable_star"]].to_numpy()
    assert np.allclose(chances[:2].sum(axis=1), 1, atol=1e-5)
    assert np.allclose(found["real"][:2], 1 - found["bogus"][:2])
    assert found.iloc[2].isna().all()


def test_an_alert_is_the_same_alone_and_among_many() -> None:
    alerts = [alert(seed=seed, peak=30.0 * seed) for seed in range(70)]
    whole = run(*alerts)
    for row in (0, 63, 64, 69):
        assert np.allclose(run(alerts[row])["real"], whole["real"][row], atol=1e-5)


@pytest.mark.parametrize("zipped", [True, False])
def test_cutouts_of_the_check_set_are_those_of_the_sky_but_for_a_part_of_the_noise(zipped: bool) -> None:
    from science_modules.stamp_class import train

    one = np.random.default_rng(3).normal(500, 10, (63, 63)).astype(np.float32)
    one[30, 30], one[:2] = 1e5, np.nan
    sent = packed(one, zipped)
    found = train.lighter(sent)
    assert np.allclose(stamps.image(found), one, atol=10 * train.ROUNDED / 2 * 1.05, equal_nan=True)
    assert found[:2] == sent[:2]
    assert len(gzip.compress(found)) < 0.5 * len(gzip.compress(sent))
    assert train.lighter(b"no image") == b"no image"


def test_the_graph_is_what_was_trained() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("onnx")
    import onnxruntime

    from science_modules import _graph
    from science_modules.stamp_class import train

    rng = np.random.default_rng(1)
    w = train.weights(rng)
    images = rng.normal(size=(4, *train.INPUTS["images"])).astype(np.float32)
    about = rng.normal(size=(4, *train.INPUTS["about"])).astype(np.float32)
    graph = _graph.OnnxGraph()
    session = onnxruntime.InferenceSession(graph.model(train.network(graph, w, *train.INPUTS, 1.3), train.INPUTS))
    logits = np.asarray(train.network(_graph.Jax(), w, images, about, 1.3))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(session.run(None, {"images": images, "about": about})[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        ({"candidate": {"ssnamenr": "123", "ssdistnr": 1.2}}, "asteroid"),
        ({"candidate": {"ssnamenr": "123", "ssdistnr": 12.0}, "cdsxmatch": "QSO"}, "agn"),
        ({"candidate": {"ssnamenr": "null", "ssdistnr": -999.0}, "cdsxmatch": "RRLyrae"}, "variable_star"),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "cdsxmatch": "LongPeriodV*_Candidate"}, "variable_star"),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "tnsclass": "SN Ia"}, "transient"),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "cdsxmatch": "(TNS) SN Ia"}, None),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "cdsxmatch": "AGN_Candidate"}, None),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "cdsxmatch": "Cluster*"}, None),
        ({"candidate": {"ssnamenr": None, "ssdistnr": None}, "cdsxmatch": "Unknown"}, None),
    ],
)
def test_truth_of_a_packet(packet: dict[str, object], kind: str | None) -> None:
    from science_modules.stamp_class import evaluate

    assert evaluate.truth({"objectId": "ZTF1", **packet}) == kind


def test_real_asteroids_are_found_and_the_scores_agree_with_the_surveys(shared: Path) -> None:
    names = ("ztf_v4_02_fink_topics_20231018_b.tar.xz", "ztf_v4_02_fink_topics_20231018_a.tar.xz", "ztf_v3_3_fink_local_20200101.tar.xz")
    packets = list(evaluate.complete([shared / "alerts" / "ztf" / name for name in names]))
    module = MODULE()
    module.setup()
    found = module.process(pd.DataFrame([evaluate.row("ztf", packet) for packet in packets])[list(module.inputs)])
    asteroids = np.array([evaluate.truth(packet) == "asteroid" for packet in packets])
    assert asteroids.sum() > 20
    assert (found["class"][asteroids] == "asteroid").mean() > 0.9
    drb = pd.Series([packet["candidate"].get("drb") for packet in packets], dtype=float)
    assert drb.corr(found["real"], method="spearman") > 0.3


def test_cuts_that_are_learned_on_other_objects_know_nothing_of_their_own() -> None:
    things = np.repeat(np.array(["a", "b", "c", "d", "e"], object), 40)
    known = np.array(["asteroid", "asteroid", "agn", "agn", "transient"], object).repeat(40)
    numbers = np.column_stack([np.repeat([1.0, 2.0, 10.0, 11.0, 5.0], 40), np.zeros(200)])
    found = evaluate.left_out(numbers, known, things)
    assert (found[:160] == known[:160]).all()
    assert not (found[160:] == "transient").any()  # the only object of its class


def test_an_object_of_many_alerts_counts_once() -> None:
    things = np.array(["a"] * 8 + ["b", "c"], object)
    known = np.array(["transient"] * 8 + ["agn", "asteroid"], object)
    guess = np.array(["transient"] * 8 + ["asteroid", "asteroid"], object)
    assert evaluate.shares(guess, known, things) == pytest.approx((0.9, 2 / 3, 2 / 3))


def test_cuts_know_that_a_distance_is_not_told() -> None:
    from science_modules.stamp_class.train import simple

    frame = pd.DataFrame({"flux": np.full(200, -3.0), "neighbour_distance_arcsec": np.repeat([np.nan, 0.5], 100)})
    numbers = simple(frame)
    assert np.isnan(numbers[:100, 1]).all()
    assert (numbers[:, 0] == 3.0).all()
    known = np.repeat(np.array(["asteroid", "agn"], object), 100)
    assert (cuts(numbers, known).predict(numbers) == known).all()
