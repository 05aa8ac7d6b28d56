"""Alerts as HBase holds them, made by hand: for tests of the reader, the gateway and the pages without services."""

from __future__ import annotations

from typing import Any

BANDS = ("g", "r")


def stored(number: int, object_id: str | None = "ZTF23aaaaaaa", **changed: Any) -> dict[str, Any]:
    """A row of the history table; the number decides its id, time and brightness."""
    mjd = 60000.0 + number
    return {
        "survey": "ztf", "schema": "ztf/4.02", "alert_id": str(2_500_000_000_000_000_000 + number), "object_id": object_id, "ss_object_id": None,
        "ra": 150.0, "dec": 20.0, "mjd": mjd, "night": 20230225 + number, "healpix": "1", "band": BANDS[number % 2], "flux": 1000.0 + number,
        "flux_err": 10.0, "mag": 19.0 - number / 100, "mag_err": 0.05, "snr": 20.0, "reliability": 0.9, "quality": [], "first_mjd": 59990.0,
        "n_detections": number + 1, "ss_distance_arcsec": None, "neighbour_distance_arcsec": 3.5, "neighbour_star_score": 0.1, "public": True,
        "template_flux": 5000.0,
        "provenance": {"broker": "0.1.0", "magnitude_rate": "1.0+12345678"},
        "magnitude_rate": {"rate": -0.1, "rate_g": 0.2, "rate_r": None, "limit_rate": None, "error": None},
        "xmatch": {"matches": ["bright:Mira:omi Cet:0.17"], "error": None},
    } | changed  # fmt: skip


def curve(row: dict[str, Any], days: int = 3) -> dict[str, list[Any]]:
    """Its light curve: a detection each day before it, a limit before these, and itself."""
    times = [row["mjd"] - day for day in range(days, -1, -1)]
    return {
        "mjd": times, "band": [BANDS[int(mjd) % 2] for mjd in times], "flux": [None, *(1000.0 + mjd - 60000 for mjd in times[1:])],
        "flux_err": [None, *([10.0] * days)], "mag": [None, *(19.0 - (mjd - 60000) / 100 for mjd in times[1:])], "mag_err": [None, *([0.05] * days)],
        "limit_mag": [20.5] * (days + 1), "kind": ["limit", *(["detection"] * days)],
    }  # fmt: skip
