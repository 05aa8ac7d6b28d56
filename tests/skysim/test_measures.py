"""What simulated LSST alerts say of a detection beside its flux, against what real ones remember of earlier detections."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.context import real_bogus
from fink_broker.skysim.observatory import LSST
from fink_broker.skysim.realism import real
from fink_broker.skysim.visits import visited

NAMES = ("snr", "scienceFlux", "psfFluxErr", "apFluxErr", "scienceFluxErr", "templateFluxErr", "raErr", "ixx", "ixxPSF", "trailLength", "extendedness",
         "bboxSize", "psfChi2")  # fmt: skip


def ties(packets: list[dict[str, object]]) -> pd.DataFrame:
    """Quantities of earlier detections (10 to 60 times the noise, in all brighter than magnitude 20, as the real ones are) that depend little on the night."""
    points = [{name: one[name] for name in NAMES} for packet in packets for one in (packet["prvDiaSources"] if packet["prvDiaSources"] is not None else ())]
    frame = pd.DataFrame(points).astype(float).query("10 < snr < 60 and scienceFlux > 36308")
    seeing = np.sqrt(frame["ixxPSF"])
    return pd.DataFrame({
        "position": frame["raErr"] * frame["snr"] / seeing, "aperture": frame["apFluxErr"] / frame["psfFluxErr"] * seeing,
        "width": frame["ixx"] / frame["ixxPSF"],
        "science": frame["scienceFluxErr"] / frame["psfFluxErr"], "template": np.log(frame["templateFluxErr"] / frame["psfFluxErr"]), "chi": frame["psfChi2"],
        "trail": frame["trailLength"] / seeing, "footprint": frame["bboxSize"] / seeing**0.8, "extended": frame["extendedness"],
        "unknown": frame["extendedness"].isna().astype(float),
    })  # fmt: skip


def test_measures_are_tied_as_in_real_alerts(shared: Path) -> None:
    from scipy.stats import ks_2samp

    packets = list(real([shared / "alerts/lsst/lsst_v10_0_fink_20260310"], "lsst"))
    campaign = Campaign("lsst", 100, 2, mix={"AGN": 1.0}, models="built-in", plan=visited(LSST, packets))
    true, simulated = ties(packets), ties([one.packet for one in campaign.alerts()])
    distance = {name: ks_2samp(simulated[name].dropna(), true[name].dropna()).statistic for name in true}
    assert all(value < 0.3 for value in distance.values()), distance
    assert np.mean(list(distance.values())) < 0.2, distance
    assert simulated["unknown"].mean() == pytest.approx(true["unknown"].mean(), abs=0.03)


def test_what_has_no_shape_says_so() -> None:
    bogus = [one.packet["diaSource"] for one in Campaign("lsst", 80, 3, mix={"bogus": 1.0}, models="built-in").alerts()]
    without = [one for one in bogus if one["extendedness"] is None]
    assert 0.1 < len(without) / len(bogus) < 0.6
    assert all(one["shape_flag"] and one["ixx"] is None and one["trailLength"] is None for one in without)
    assert not any(one["shape_flag"] for one in bogus if one["extendedness"] is not None)


def test_reliability_falls_where_little_of_the_light_changes() -> None:
    def middle(change: float, template: float, snr: float = 30.0) -> float:
        many = np.ones(2000)
        scores = real_bogus(np.random.default_rng(1), LSST, True, snr * many, np.full((6, 1), template), change * many)
        return float(np.median(scores))

    # medians of 27 quasars: 0.73 of changes by 5 to 10 %, 0.85 of 10 to 20 %, 0.98 of 20 to 40 %; known asteroids have 0.999
    assert [middle(change, 1e5) for change in (0.075, 0.14, 0.28)] == pytest.approx([0.73, 0.85, 0.98], abs=0.03)
    assert middle(1000.0, 0.0, 100.0) > 0.998
    bogus = real_bogus(np.random.default_rng(1), LSST, False, np.full(2000, 9.0), np.full((6, 1), 1e5), np.full(2000, 0.1))
    assert np.median(bogus) < 0.2


def test_error_in_the_template_is_the_templates() -> None:
    """It knows nothing of the depth of the exposure, and falls steeply with its width."""
    packets = [one.packet for one in Campaign("lsst", 150, 4, mix={"periodic variable": 1.0}, models="built-in").alerts()]
    sources = [one for packet in packets for one in (packet["diaSource"], *(packet["prvDiaSources"] or ())) if one["band"] == "i"]
    error = np.log([one["templateFluxErr"] for one in sources])
    seeing, flux = np.log([one["ixxPSF"] for one in sources]) / 2, np.log([one["templateFlux"] for one in sources])
    slopes = np.linalg.lstsq(np.column_stack([seeing, flux, np.ones(len(sources))]), error, rcond=None)[0]
    assert slopes[0] == pytest.approx(-3.1, abs=0.8)
    assert abs(slopes[1]) < 0.1
