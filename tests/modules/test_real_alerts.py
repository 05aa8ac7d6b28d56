"""The modules on real ZTF alerts, against the cuts written over the raw packet and against what Fink computed of the same alerts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fink_broker.catalog_import import import_catalog
from fink_broker.contract import check_module, with_others
from fink_broker.science import Chain, Registry
from fink_broker.settings import data_folder
from tests.modules.ztf_packets import columns, packets

REGISTRY = Registry.load(data_folder("science_modules"))
FINK = "enriched/fink_20260322_part-3-305711.avro"


@pytest.fixture(scope="module")
def real(shared: Path) -> list[dict[str, Any]]:
    names = ("ztf_v3_3_fink_local_20200101.tar.xz", "ztf_v3_3_kowalski_20200202.tar.xz", "ztf_v4_02_fink_topics_20231018_b.tar.xz", FINK)
    return list(packets(shared / "alerts" / "ztf", *names))


def run(alerts: list[dict[str, Any]], *names: str, **params: dict[str, Any]) -> pd.DataFrame:
    chain = Chain(REGISTRY, names, params, "ztf", on_failure="fail")
    frame = columns(alerts)[list(chain.columns)]
    return chain.run(frame, pd.DataFrame(True, index=frame.index, columns=list(chain.names)))


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_module_keeps_the_contract_on_real_alerts(real: list[dict[str, Any]], name: str) -> None:
    module = REGISTRY.get(name)()
    assert check_module(module, with_others(module, columns(real), REGISTRY)) > 0


def test_purity_is_the_cut_over_the_packet(real: list[dict[str, Any]]) -> None:
    def pure(one: dict[str, Any]) -> bool | None:
        values = [one.get(name) for name in ("rb", "nbad", "fwhm", "elong", "magdiff")]
        if None in values:
            return None
        return one["rb"] >= 0.65 and one["nbad"] == 0 and one["fwhm"] <= 5 and one["elong"] <= 1.2 and abs(one["magdiff"]) <= 0.1

    found = run(real, "purity")["purity.passes"].tolist()
    expected = [pure(alert["candidate"]) for alert in real]
    assert [None if pd.isna(one) else one for one in found] == expected
    assert 10 < expected.count(True) < len(expected) - 10


def test_extragalactic_is_the_cut_over_the_packet(real: list[dict[str, Any]]) -> None:
    def passes(alert: dict[str, Any]) -> bool:
        this, history = alert["candidate"], alert["prv_candidates"] or []
        times = sorted(p["jd"] for p in [this, *history] if p.get("magpsf") is not None and p["isdiffpos"] in ("t", "1"))
        no_star = not (0 <= this["distpsnr1"] <= 1.5 and this["sgscore1"] >= 0.5)
        asteroid = this["ssnamenr"] not in ("null", None) and 0 <= this["ssdistnr"] <= 5
        return this["isdiffpos"] in ("t", "1") and no_star and len(times) > 1 and times[-1] - times[0] >= 30 / 1440 and not asteroid

    usable = [alert for alert in real if alert["candidate"].get("distpsnr1") is not None and alert["candidate"].get("sgscore1") is not None]
    found, expected = run(usable, "extragalactic")["extragalactic.passes"].tolist(), [passes(alert) for alert in usable]
    assert found == expected
    assert 5 < sum(expected) < len(expected) - 5


def test_known_asteroids_are_those_of_the_packet(real: list[dict[str, Any]]) -> None:
    found = run(real, "solar_system")
    near = [alert["candidate"]["ssnamenr"] not in ("null", None) and 0 <= alert["candidate"]["ssdistnr"] <= 5 for alert in real]
    assert found["solar_system.known"].tolist() == near
    assert sum(near) > 5
    assert not (found["solar_system.known"] & found["solar_system.candidate"]).any()


def test_rates_are_within_the_bounds_that_fink_found_by_monte_carlo(shared: Path) -> None:
    """Fink shifts all alerts of a batch by the same random number, so its means scatter by up to one sigma."""
    alerts = list(packets(shared / "alerts" / "ztf", FINK))
    out = run(alerts, "magnitude_rate")
    compared = 0
    for alert, (_, row) in zip(alerts, out.iterrows(), strict=True):
        if not alert["from_upper"] and alert["mag_rate"] is not None and alert["delta_time"] >= 0.02:
            compared += 1
            assert row["magnitude_rate.days"] == pytest.approx(alert["delta_time"], abs=1e-6)
            assert alert["lower_rate"] < row["magnitude_rate.rate"] < alert["upper_rate"]
            assert row["magnitude_rate.rate"] == pytest.approx(alert["mag_rate"], abs=alert["sigma_rate"])
            assert row["magnitude_rate.rate_err"] == pytest.approx(alert["sigma_rate"], rel=0.25)
    assert compared == 4


def test_cross_matches_are_those_of_fink(shared: Path, tmp_path: Path) -> None:
    """Files in which Fink's values stand beside the right rows: fink_night_20240115 has an RRAB a degree from any, and none at 0.1 arcsec."""
    import pyarrow.parquet as pq

    catalogs = {"gcvs": ("gcvs.parquet", 1.5), "x3hsp": ("3hsp.csv", 60), "x4lac": ("table-4LAC-DR3-h.fits", 60)}
    for name, (file, radius) in catalogs.items():
        import_catalog(shared / "catalogs" / file, tmp_path, name, radius)
    compared = 0
    for name in ("symbiotic", "fink_filters_regular_20211122_b"):
        file = shared / "alerts" / "ztf" / "labelled" / f"{name}.parquet"
        table = pq.read_table(file, columns=["candidate", "gcvs", "x3hsp", "x4lac"]).to_pylist()
        frame = pd.DataFrame({"ra": [row["candidate"]["ra"] for row in table], "dec": [row["candidate"]["dec"] for row in table]})
        module = REGISTRY.get("xmatch")(folder=str(tmp_path), bright=False)
        module.setup()
        for row, matches in zip(table, module.process(frame)["matches"], strict=True):
            ours = dict(match.split(":")[:2] for match in matches)
            assert (row["gcvs"] not in (None, "Unknown")) == ("gcvs" in ours)
            if "gcvs" in ours:
                compared += 1
                assert ours["gcvs"] == row["gcvs"].strip().replace(":", "?")
            for name in ("x3hsp", "x4lac"):
                assert (row[name] not in (None, "Unknown")) == (name in ours)
                compared += name in ours
    assert compared == 17


def test_features_are_finite_or_null(real: list[dict[str, Any]]) -> None:
    found = run(real, "features").drop(columns="features.error").to_numpy(float, na_value=np.nan)
    assert not np.isinf(found).any()
    assert np.isfinite(found).sum() > 1000
