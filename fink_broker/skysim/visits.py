"""When a survey looked where, as its own alerts tell: the visits that they remember, for a simulation of the same nights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.errors import ConfigError
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observatory import Observatory, magnitude, nanojansky
from fink_broker.skysim.schedule import Schedule, grid_of

CELL_DEG = 1.0
BANDS = {1: "g", 2: "r", 3: "i"}  # by ZTF's number
MOST_NIGHTS = 10  # what is known of a place are the days before its own alert
SPIKE, ENOUGH = 1.7, 5  # [pixels] of no star; detections that tell the seeing of a night
YOUNG = 0.5  # an object of LSST that tells less than this share of the visits that another near it tells is younger than the survey there


@dataclass(frozen=True)
class Told:
    """The visits that one packet tells of its place [deg], in time order: time [d, TAI], place of the band, 5-sigma depth [mag], seeing [arcsec] or nan."""

    ra: float
    dec: float
    mjd: Floats
    band: Ints
    depth: Floats
    seeing: Floats


def visited(site: Observatory, packets: Iterable[Mapping[str, Any]], seed: int = 1, near_deg: float = 2.0) -> Schedule:
    """The plan of the nights of real alerts: each place is visited as that of the nearest alert was, if one is within `near_deg`, and nowhere else.

    Times, bands and depths are of the alert and of what its packet tells of the days before; what is detected before its night gives no alert.
    ZTF: the seeing of a night is that of the middle one of its detections, if there are some; else it is drawn. LSST: of packets with forced photometry,
    which alone tell visits that found nothing, and that of objects as old as others near them; the seeing is that of each visit; things are put near alerts.
    """
    ztf = site.name == "ztf"
    packets = list(packets)
    known, measured = _told_by_ztf(packets, site) if ztf else (_told_by_lsst(packets, site), {})
    if not known:
        what = "" if ztf or not packets else f"none of {len(packets)} alerts has forced photometry (prvDiaForcedSources), so there is "
        raise ConfigError(f"{what}no alert to take the nights from; give files of {site.name.upper()} alerts{'' if ztf else ' of objects seen before'}")
    nights = [_night(one.mjd[-1], site) for one in known]
    if max(nights) - min(nights) > MOST_NIGHTS:
        raise ConfigError(f"the alerts lie {max(nights) - min(nights):.0f} nights apart; give those of {MOST_NIGHTS} nights at most at a time")
    of_ra, of_dec = np.array([one.ra for one in known]), np.array([one.dec for one in known])
    grid = replace(site, field_deg=CELL_DEG)
    if not ztf:  # some square degrees, on which too few of the things of a whole sky would lie; now and then north of the survey's usual limit
        low, high = min(site.dec_range[0], of_dec.min() - near_deg), max(site.dec_range[1], of_dec.max() + near_deg)
        grid = replace(grid, dec_range=(low, high), around=tuple(zip(of_ra.tolist(), of_dec.tolist(), strict=True)))
    rows, ra, dec = grid_of(grid)
    place, apart = _nearest(ra, dec, of_ra, of_dec)
    found = np.where(apart < near_deg, place, -1)
    chosen = [known[one] for one in found if one >= 0]
    mjd, band, depth, sharp = (np.concatenate([[], *(getattr(one, name) for one in chosen)]) for name in ("mjd", "band", "depth", "seeing"))
    count = np.array([len(known[one].mjd) if one >= 0 else 0 for one in found])
    late = np.array([int(np.searchsorted(known[one].mjd, nights[one])) if one >= 0 else 0 for one in found])
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    rng = np.random.default_rng([seed, 0x115E])
    night, of = np.unique(_night(mjd, site), return_inverse=True)
    typical = site.seeing_arcsec * np.exp(0.1 * rng.normal(size=len(night)))
    seeing = np.array([measured.get(one, drawn) for one, drawn in zip(night, typical, strict=True)])[of] * np.exp(0.06 * rng.normal(size=len(of)))
    first = min(nights) - (site.settle_days if ztf else 0)  # asteroids are drawn for the days from it on
    return Schedule(grid, first, max(nights) + 1 - first, start, count, mjd, band.astype(np.int64), depth, np.where(np.isfinite(sharp), sharp, seeing), rows,
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


def _told_by_ztf(packets: list[Mapping[str, Any]], site: Observatory) -> tuple[list[Told], dict[float, float]]:
    """What packets that were not put elsewhere tell of their places, and the seeing of nights."""
    sent = [packet for packet in packets if _as_sent(packet["candidate"])]
    return [told for told in map(_visits, sent) if len(told.mjd)], _seeing(sent, site)


def _visits(packet: Mapping[str, Any]) -> Told:
    """Each visit that a packet of ZTF tells of once; the last is its own, if that has a depth."""
    told = {round(one["jd"] * 86400): one for one in _points(packet) if one["fid"] in BANDS and (one["diffmaglim"] or -1) > 0}
    points = [told[when] for when in sorted(told) if told[when]["jd"] <= packet["candidate"]["jd"]]
    columns = np.array([(one["jd"], one["fid"] - 1, one["diffmaglim"]) for one in points], float).reshape(-1, 3)
    own = packet["candidate"]
    return Told(own["ra"], own["dec"], np.asarray(sky.mjd_tai(columns[:, 0])), columns[:, 1].astype(np.int64), columns[:, 2], np.full(len(columns), np.nan))


def _told_by_lsst(packets: list[Mapping[str, Any]], site: Observatory) -> list[Told]:
    """What packets with forced photometry tell, without those that tell much less than one near them: the depth is that of the error less the light's own."""
    widths: dict[int, list[float]] = {}
    for packet in packets:
        for one in _sources(packet):
            if width := _width(one):
                widths.setdefault(one["visit"], []).append(width)
    seeing = {visit: float(np.median(found)) for visit, found in widths.items()}
    known = []
    for packet in packets:
        own, forced = packet["diaSource"], packet.get("prvDiaForcedSources")
        if forced is None or not len(forced):
            continue
        told = {one["visit"]: one for one in (*forced, *_sources(packet)) if one["midpointMjdTai"] <= own["midpointMjdTai"] and one["band"] in site.bands}
        points = sorted((one for one in told.values() if (one["psfFluxErr"] or -1) > 0), key=lambda one: one["midpointMjdTai"])
        if not points:
            continue
        band = site.index([one["band"] for one in points])
        err, light = (np.array([one.get(name) for one in points], float) for name in ("psfFluxErr", "scienceFlux"))
        photons = (1 + site.template_light) * np.nan_to_num(np.maximum(light, 0)) * nanojansky(np.array(site.zero_electrons))[band]
        dark = np.sqrt(np.maximum(err**2 - photons, (err / 3) ** 2))
        mjd, sharp = np.array([one["midpointMjdTai"] for one in points]), np.array([_width(one) or seeing.get(one["visit"], np.nan) for one in points])
        known.append(Told(own["ra"], own["dec"], mjd, band, magnitude(5 * dark), sharp))
    return _as_old_as_others(known)


def _as_old_as_others(known: list[Told]) -> list[Told]:
    """Those that do not tell much less than one near them."""
    from scipy.spatial import cKDTree

    if not known:
        return []
    count = np.array([len(one.mjd) for one in known])
    tree = cKDTree(_unit(np.array([one.ra for one in known]), np.array([one.dec for one in known])))
    beside = tree.query_ball_point(tree.data, 2 * np.sin(np.radians(CELL_DEG)))
    return [one for one, near in zip(known, beside, strict=True) if len(one.mjd) >= YOUNG * count[near].max()]


def _width(source: Mapping[str, Any]) -> float:
    """Seeing [arcsec] of a detection by the moments of its point-spread function; 0 where they are not told, as in forced photometry."""
    total = float((source.get("ixxPSF") or 0) + (source.get("iyyPSF") or 0))
    return 2.355 * (total / 2) ** 0.5 if total > 0 else 0.0


def _sources(packet: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The detections that a packet of LSST has, its own last."""
    before = packet.get("prvDiaSources")
    return [*(before if before is not None else ()), packet["diaSource"]]


def _nearest(ra: Floats, dec: Floats, of_ra: Floats, of_dec: Floats) -> tuple[Ints, Floats]:
    """For each place the nearest of others and how far it is [deg]."""
    from scipy.spatial import cKDTree

    distance, place = cKDTree(_unit(of_ra, of_dec)).query(_unit(ra, dec))
    return np.asarray(place, np.int64), np.degrees(2 * np.arcsin(np.minimum(distance / 2, 1)))


def _unit(ra: Floats, dec: Floats) -> Floats:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
