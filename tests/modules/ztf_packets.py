"""Neutral columns of real ZTF packets, in plain Python: independent of the Spark expressions of schemas/ztf/survey.toml."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd

from fink_broker.past import points_of, with_past

BAND = {1: "g", 2: "r", 3: "i"}
NAMES = ("mjd", "band", "flux", "flux_err", "mag", "mag_err", "limit_mag", "kind")


def packets(folder: Path, *names: str) -> Iterator[dict[str, Any]]:
    """All alerts of Avro files and tars."""
    for name in names:
        if name.endswith(".avro"):
            with (folder / name).open("rb") as file:
                yield from fastavro.reader(file)  # type: ignore[misc]
        else:
            with tarfile.open(folder / name, "r:xz") as tar:
                for member in tar:
                    if member.name.endswith(".avro"):
                        yield from fastavro.reader(tar.extractfile(member))  # type: ignore[misc,arg-type]


def tai(jd: float) -> float:
    """MJD [d, TAI] of a date since 2017."""
    return jd - 2400000.5 + 37 / 86400


def point(one: dict[str, Any]) -> tuple[Any, ...]:
    mag, limit = one.get("magpsf"), one.get("diffmaglim")
    if mag is None:
        return tai(one["jd"]), BAND[one["fid"]], np.nan, np.nan, np.nan, np.nan, np.nan if limit is None else limit, "limit"
    flux = 10 ** ((31.4 - mag) / 2.5) * (1 if one["isdiffpos"] in ("t", "1") else -1)
    err = one["sigmapsf"]
    return tai(one["jd"]), BAND[one["fid"]], flux, abs(flux) * err * np.log(10) / 2.5, mag, err, np.nan if limit is None else limit, "detection"


def columns(alerts: list[dict[str, Any]]) -> pd.DataFrame:
    """One row an alert, as modules get it."""
    rows = []
    for alert in alerts:
        this = alert["candidate"]
        points = sorted(map(point, [*(alert.get("prv_candidates") or []), this]), key=lambda p: p[0])
        row: dict[str, Any] = {
            f"lightcurve.{name}": np.array([p[i] for p in points], object if name in ("band", "kind") else float) for i, name in enumerate(NAMES)
        }
        row |= dict(zip(("mjd", "band", "flux"), point(this)[:3], strict=True))
        known = this.get("ssnamenr") not in (None, "null", "", "-999")
        row |= {
            "ra": this["ra"],
            "dec": this["dec"],
            "first_mjd": tai(this["jdstarthist"]) if this.get("jdstarthist") else np.nan,
            "n_detections": this["ndethist"],
            "ss_object_id": this["ssnamenr"] if known else None,
            "ss_distance_arcsec": _positive(this.get("ssdistnr")),
            "neighbour_distance_arcsec": _positive(this.get("distpsnr1")),
            "neighbour_star_score": _positive(this.get("sgscore1")),
            "template_flux": 10 ** ((31.4 - this["magnr"]) / 2.5) if 0 <= _positive(this.get("distnr")) <= 1.5 and this["magnr"] > 0 else np.nan,
        }
        row |= {f"packet.candidate.{name}": this.get(name) for name in ("rb", "nbad", "fwhm", "elong", "magdiff")}
        row |= {"object_id": alert.get("objectId"), "snr": 1.0857 / this["sigmapsf"], "reliability": this.get("rb") if this.get("drb") is None else this["drb"]}
        row |= {f"cutout_{name}": (alert.get(f"cutout{name.capitalize()}") or {}).get("stampData") for name in ("science", "template", "difference")}
        rows.append(row)
    frame = pd.DataFrame(rows)
    return pd.concat([frame, with_past(frame, points_of(frame))], axis=1)


def _positive(value: float | None) -> float:
    return np.nan if value is None or value < 0 else value
