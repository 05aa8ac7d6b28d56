"""Alert rows made up by hand, with few packet columns: for tests of filters and messages without a decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_POINT = "mjd:double,band:string,flux:double,flux_err:double,mag:double,mag_err:double,limit_mag:double,kind:string"
LAYOUT = f"""
origin struct<topic:string,partition:int,offset:bigint,timestamp:bigint>, survey string, schema string,
packet struct<candid:bigint,objectId:string,
  candidate:struct<jd:double,fid:int,magpsf:float,drb:float,ndethist:int,seen:timestamp>,
  prv_candidates:array<struct<jd:double,magpsf:float>>,cutoutScience:struct<fileName:string,stampData:binary>>,
alert_id string, object_id string, ss_object_id string, ra double, dec double, mjd double, night int, healpix bigint, band string,
flux double, flux_err double, mag double, mag_err double, snr double, reliability double, quality array<string>, first_mjd double,
n_detections int, ss_distance_arcsec double, neighbour_distance_arcsec double, neighbour_star_score double, template_flux double, public boolean,
lightcurve struct<{",".join(part.replace(":", ":array<") + ">" for part in _POINT.split(","))}>, reason string,
magnitude_rate struct<rate_g:double,rate_r:double,error:string>, xmatch struct<name:string,class:string,error:string>,
provenance map<string,string>
"""


def alert_row(number: int, **changed: Any) -> dict[str, Any]:
    """One alert of ZTF; the number decides its ids and time."""
    mjd = 60000.0 + number / 100
    row = {
        "origin": {"topic": "ztf_alerts", "partition": number % 2, "offset": number, "timestamp": 1_700_000_000_000 + number},
        "survey": "ztf",
        "schema": "ztf/4.02",
        "packet": {
            "candid": 2_000_000_000_000_000_000 + number,
            "objectId": f"ZTF23a{number % 5:06d}",
            "candidate": {"jd": mjd + 2400000.5, "fid": 1, "magpsf": 18.5, "drb": 0.9, "ndethist": number, "seen": None},
            "prv_candidates": None,
            "cutoutScience": {"fileName": "science.fits.gz", "stampData": bytes(range(256))},
        },
        "alert_id": str(2_000_000_000_000_000_000 + number),
        "object_id": f"ZTF23a{number % 5:06d}",
        "ss_object_id": None,
        "ra": 10.0,
        "dec": -5.0,
        "mjd": mjd,
        "night": 20230225,
        "healpix": 123456789,
        "band": "g",
        "flux": 1000.0,
        "flux_err": 10.0,
        "mag": 18.0 + number % 4,
        "mag_err": 0.1,
        "snr": 10.9,
        "reliability": 0.9,
        "quality": [],
        "first_mjd": mjd - 3,
        "n_detections": 3,
        "ss_distance_arcsec": None,
        "neighbour_distance_arcsec": 2.0,
        "neighbour_star_score": 0.1,
        "template_flux": 5000.0,
        "public": True,
        "lightcurve": {part.split(":")[0]: [] for part in _POINT.split(",")},
        "reason": None,
        "magnitude_rate": {"rate_g": -0.5, "rate_r": None, "error": None},
        "xmatch": {"name": None, "class": None, "error": None},
        "provenance": {"broker": "0.1.0"},
    }
    return {**row, **changed}


def alert_rows(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """A frame of such rows, as a job has it before its filters."""
    return spark.createDataFrame(list(rows), LAYOUT)  # type: ignore[type-var]
