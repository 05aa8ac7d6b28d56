"""When a survey looked where, as its own alerts tell: the visits that they remember, for a simulation of the same nights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observatory import Observatory
from fink_broker.skysim.schedule import Schedule, grid_of

CELL_DEG = 1.0
BANDS = {1: "g", 2: "r", 3: "i"}  # by ZTF's number
MOST_NIGHTS = 10  # what is known of a place are the days before its own alert
SPIKE, ENOUGH = 1.7, 5  # [pixels] of no star; detections that tell the seeing of a night


def visited(site: Observatory, packets: Iterable[Mapping[str, Any]], seed: int = 1, near_deg: float = 2.0) -> Schedule:
    """The plan of the nights of real ZTF alerts: each place is visited as that of the nearest alert was, if one is within `near_deg`, and nowhere else.

    Times, bands and depths are of the alert and of what its packet tells of the days before; what is detected before its night gives no alert.
    The seeing of a night is that of the middle one of its detections, if there are some; else it is drawn.
    """
    if site.name != "ztf":  # whose packets alone tell of visits that found nothing
        raise ConfigError(f"survey {site.name} tells no visits without a detection; only the nights of ZTF's alerts can be simulated again")
    sent = [packet for packet in packets if _as_sent(packet["candidate"])]
    known = [(packet["candidate"]["ra"], packet["candidate"]["dec"], *told) for packet in sent if len((told := _visits(packet))[0])]
    if not known:
        raise ConfigError("no alert to take the nights from; give files of ZTF alerts")
    nights = [_night(one[2][-1], site) for one in known]
    if max(nights) - min(nights) > MOST_NIGHTS:
        raise ConfigError(f"the alerts lie {max(nights) - min(nights):.0f} nights apart; give those of {MOST_NIGHTS} nights at most at a time")
    grid = replace(site, field_deg=CELL_DEG)
    rows, ra, dec = grid_of(grid)
    place, apart = _nearest(ra, dec, np.array([one[0] for one in known]), np.array([one[1] for one in known]))
    found = np.where(apart < near_deg, place, -1)
    columns = [np.concatenate([[], *(known[one][column] for one in found if one >= 0)]) for column in (2, 3, 4)]
    count = np.array([len(known[one][2]) if one >= 0 else 0 for one in found])
    late = np.array([int(np.searchsorted(known[one][2], nights[one])) if one >= 0 else 0 for one in found])
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    rng = np.random.default_rng([seed, 0x115E])
    night, of = np.unique(_night(columns[0], site), return_inverse=True)
    typical, measured = site.seeing_arcsec * np.exp(0.1 * rng.normal(size=len(night))), _seeing(sent, site)
    seeing = np.array([measured.get(one, drawn) for one, drawn in zip(night, typical, strict=True)])[of] * np.exp(0.06 * rng.normal(size=len(of)))
    first = min(nights) - site.settle_days
    return Schedule(grid, first, max(nights) + 1 - first, start, count, columns[0], columns[1].astype(np.int64), columns[2], seeing, rows,
                    np.concatenate([[0], np.cumsum(rows)[:-1]]), start + late)  # fmt: skip


def _seeing(packets: list[Mapping[str, Any]], site: Observatory) -> dict[float, float]:
    """Seeing [arcsec] of nights that have enough detections to tell: what is wider than a spike is measured 1.28 times as wide, as the simulator has it."""
    points = [(one["jd"], one["fwhm"]) for packet in packets for one in _points(packet) if (one.get("fwhm") or 0) > SPIKE]
    widths = pd.DataFrame(points, columns=["jd", "width"], dtype=float)
    middle = widths.groupby(_night(sky.mjd_tai(widths["jd"]), site))["width"].agg(["median", "size"])
    middle = middle[middle["size"] >= ENOUGH]
    return dict(zip(middle.index.to_numpy(float), middle["median"] * site.pixel_arcsec / 1.28, strict=True))


def _points(packet: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a packet tells of visits before, and of its own."""
    before = packet.get("prv_candidates")
    return [*(before if before is not None else ()), packet["candidate"]]


def _night(mjd: Any, site: Observatory) -> Any:
    """Noon before a time [d, TAI]."""
    noon = (-site.longitude_deg / 360 + 0.5) % 1
    return np.floor(mjd - noon) + noon


def _as_sent(own: Mapping[str, Any]) -> bool:
    """Whether the alert was not put elsewhere by hand, as in sets for tests: those say that they were first detected after they were sent."""
    return not (own.get("jdstarthist") or 0) > own["jd"] + 1e-3


def _visits(packet: Mapping[str, Any]) -> tuple[Floats, Ints, Floats]:
    """Time [d, TAI], band and depth of each visit that a packet tells of, each once, in time order; the last is its own, if that has a depth."""
    told = {round(one["jd"] * 86400): one for one in _points(packet) if one["fid"] in BANDS and (one["diffmaglim"] or -1) > 0}
    points = [told[when] for when in sorted(told) if told[when]["jd"] <= packet["candidate"]["jd"]]
    columns = np.array([(one["jd"], one["fid"] - 1, one["diffmaglim"]) for one in points], float).reshape(-1, 3)
    return np.asarray(sky.mjd_tai(columns[:, 0])), columns[:, 1].astype(np.int64), columns[:, 2]


def _nearest(ra: Floats, dec: Floats, of_ra: Floats, of_dec: Floats) -> tuple[Ints, Floats]:
    """For each place the nearest of others and how far it is [deg]."""
    from scipy.spatial import cKDTree

    distance, place = cKDTree(_unit(of_ra, of_dec)).query(_unit(ra, dec))
    return np.asarray(place, np.int64), np.degrees(2 * np.arcsin(np.minimum(distance / 2, 1)))


def _unit(ra: Floats, dec: Floats) -> Floats:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
