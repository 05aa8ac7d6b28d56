"""For evaluations: real ZTF alerts in neutral columns, as `schemas/ztf/survey.toml` has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fink_broker import sky
from fink_broker.skysim.realism import real

BANDS = {1: "g", 2: "r", 3: "i"}
POINT = ("mjd", "band", "flux", "flux_err", "limit_mag", "kind")
NEAR_ARCSEC = 5.0  # of a known asteroid
LN = 2.5 / float(np.log(10))


def packets(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Each alert of files and folders, once."""
    met = set()
    for path in paths:
        tables = sorted(path.rglob("*.parquet"))  # which need not be one table
        for file in tables if any(path.glob("*.parquet")) else [*tables, path]:
            for packet in real([file], "ztf"):
                who = packet["candidate"].get("candid") or packet.get("candid")
                if who not in met:
                    met.add(who)
                    yield packet


def known_asteroid(packet: dict[str, Any]) -> bool:
    """Whether the survey names an asteroid within 5 arcsec."""
    own = packet["candidate"]
    return own.get("ssnamenr") not in (None, "null", "", "-999") and 0 <= own["ssdistnr"] <= NEAR_ARCSEC


def as_sent(packet: dict[str, Any]) -> bool:
    """Whether nothing was put in by hand: some alerts of tests say that they were first detected after they were sent (and name a source at 120 arcsec)."""
    own = packet["candidate"]
    return not (own.get("jdstarthist") or 0) > own["jd"] + 1e-3


def light_curve(packet: dict[str, Any], prefix: str = "lightcurve") -> dict[str, Any]:
    """Columns of its points [d, nJy, mag]: detections, upper limits, forced photometry, in time order."""
    rows = []
    earlier, forced = (packet[name] if packet.get(name) is not None else [] for name in ("prv_candidates", "fp_hists"))
    for one in (*earlier, packet["candidate"]):
        mjd, band, mag = float(sky.mjd_tai(one["jd"])), BANDS.get(one["fid"]), one.get("magpsf")
        if mag is not None and np.isfinite(mag):
            flux = 10 ** ((31.4 - mag) / 2.5)
            rows.append((mjd, band, flux if one.get("isdiffpos") in ("t", "1") else -flux, flux * one["sigmapsf"] / LN, np.nan, "detection"))
        elif (one.get("diffmaglim") or -999) > -900:
            rows.append((mjd, band, np.nan, np.nan, one["diffmaglim"], "limit"))
    for one in forced:
        if one.get("magzpsci") and one.get("forcediffimflux") is not None and one["forcediffimflux"] > -9e4:
            unit = 10 ** ((31.4 - one["magzpsci"]) / 2.5)
            flux, err = one["forcediffimflux"] * unit, one["forcediffimfluxunc"] * unit
            rows.append((float(sky.mjd_tai(one["jd"])), BANDS.get(one["fid"]), flux, err, np.nan, "forced"))
    columns = zip(*sorted((row for row in rows if row[1]), key=lambda row: row[0]), strict=True)
    return {f"{prefix}.{name}": np.array(values, object if name in ("band", "kind") else float) for name, values in zip(POINT, columns, strict=True)}


def row(packet: dict[str, Any], prefix: str = "lightcurve") -> dict[str, Any]:
    """An alert as modules get it, without cutouts."""
    own = packet["candidate"]
    mjd, first = sky.mjd_tai([own["jd"], own.get("jdstarthist") or np.nan])
    flux = 10 ** ((31.4 - own["magpsf"]) / 2.5) * (1 if own["isdiffpos"] in ("t", "1") else -1)
    named = own.get("ssnamenr") not in (None, "null", "", "-999")
    columns = {"ss_distance_arcsec": "ssdistnr", "neighbour_distance_arcsec": "distpsnr1", "neighbour_star_score": "sgscore1"}
    return {
        "mjd": mjd, "ra": own["ra"], "dec": own["dec"], "flux": flux, "snr": LN / own["sigmapsf"], "first_mjd": first, "n_detections": own["ndethist"],
        "reliability": score(own, "drb") if np.isfinite(score(own, "drb")) else score(own, "rb"), "ss_object_id": own["ssnamenr"] if named else None,
        "template_flux": 10 ** ((31.4 - own["magnr"]) / 2.5) if 0 <= score(own, "distnr") <= 1.5 and score(own, "magnr") > 0 else np.nan,
        **{name: score(own, key) for name, key in columns.items()}, **light_curve(packet, prefix),
    }  # fmt: skip


def score(candidate: dict[str, Any], name: str) -> float:
    """A number that is never negative; nan where the packet has none."""
    value = candidate.get(name)
    return np.nan if value is None or not value >= 0 else float(value)
