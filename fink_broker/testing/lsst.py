"""Made-up packets of LSST: earlier detections and forced photometry, orbits of known asteroids, FITS stamps of three HDUs."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from fink_broker.schema import Schema
from fink_broker.sky import ecliptic_latitude, galactic_latitude
from fink_broker.survey import Survey
from fink_broker.testing.objects import MadeObject
from fink_broker.testing.packets import Packer, blank, filled, kept, record_of

MOVING_ID = 21_163_000_000_000_000
OBJECT_ID = 170_000_000_000_000_000


class Lsst(Packer):
    """Packs made-up things as alerts of the Rubin Observatory."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        names = ("diaSource", "diaObject", "ssSource", "mpc_orbits", "prvDiaForcedSources")
        self.records = {name: blank(record_of(schema.json, name)) for name in names}
        source = self.records["diaSource"]
        source |= {name: False for name in source if name.startswith("pixelFlags") or name.endswith("_flag") or "_flag_" in name}
        source |= {name: value for name, value in CONSTANT.items() if name in source}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        known = thing.moving and thing.known
        object_id = 0 if known else OBJECT_ID + self.seed % 10_000 * 10**12 + self._number(thing, epoch)
        moving_id = MOVING_ID + self.seed % 1000 * 10**9 + thing.number if known else 0
        source = kept(thing, epoch, self._source) | {"diaObjectId": object_id, "ssObjectId": moving_id}
        seen = thing.seen(epoch)
        before = self._forced_of(thing, seen, epoch)
        packet = {
            **self.empty, "diaSourceId": source["diaSourceId"], "observation_reason": "science", "target_name": "lowdust", "diaSource": source,
            "prvDiaSources": [self._seen(thing, place, object_id) for place in seen] or None,
            "prvDiaForcedSources": None if known else [self._at_place(thing, place, object_id) for place in before],
            "diaObject": None if known else self._object(thing, seen, epoch, object_id),
        }  # fmt: skip
        if known:
            packet |= self._solar_system(thing, epoch, source, moving_id)
        packet |= dict(zip(("cutoutScience", "cutoutTemplate", "cutoutDifference"), self._stamps(thing, epoch, deep=True), strict=True))
        return packet, str(source["diaSourceId"]), str(object_id or moving_id)

    def _forced_of(self, thing: MadeObject, seen: list[int], epoch: int) -> list[int]:
        """Visits that an alert tells forced photometry of, which begins with the object."""
        return [place for place in thing.earlier(epoch) if place >= seen[0]] if seen else []

    def _seen(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        """An earlier detection."""
        return kept(thing, epoch, self._source) | {"diaObjectId": object_id}

    def _at_place(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        """Forced photometry of an earlier visit."""
        return self._forced(thing, epoch) | {"diaObjectId": object_id}

    def _source(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        """A detection; what depends on chance is the same whenever the visit is spoken of."""
        flux, err, dice, mjd = thing.flux[epoch], thing.flux_err[epoch], thing.dice[epoch], thing.mjd[epoch]
        good = thing.kind != "bogus"
        ra, dec = thing.place(epoch)
        trail = thing.speed_deg_per_day * 3600 * 30 / 86400 if thing.moving else 0.15 * dice[2]
        science = flux + thing.template_flux
        values = {
            "diaSourceId": OBJECT_ID + int((mjd - 60000) * 86400) * 10**8 + self.seed % 100 * 10**6 + self._count(thing, epoch), "visit": _visit(mjd),
            "detector": thing.number % 189, "midpointMjdTai": mjd, "ra": ra, "raErr": 2e-5 * (0.5 + dice[0]), "dec": dec, "decErr": 2e-5 * (0.5 + dice[1]),
            "x": 4000 * dice[6], "y": 4000 * dice[7], "apFlux": flux * (0.98 + 0.04 * dice[3]), "apFluxErr": err * 1.5, "isNegative": flux < 0,
            "snr": abs(flux) / err, "psfFlux": flux, "psfFluxErr": err, "psfChi2": 1681 * (0.9 + 0.2 * dice[4]) * (1 if good else 3), "trailFlux": flux,
            "trailFluxErr": err, "trailRa": ra, "trailDec": dec, "trailLength": trail, "trailAngle": 180 * dice[5] - 90, "scienceFlux": science,
            "scienceFluxErr": err, "templateFlux": thing.template_flux, "templateFluxErr": err / 3, "extendedness": 0.05 * dice[8] if good else dice[8],
            "reliability": 1 - 0.5 * dice[0] ** 3 if good else 0.5 * dice[0], "band": thing.band[epoch], "isDipole": not good and dice[1] < 0.3,
            "timeProcessedMjdTai": mjd + 0.0013, "pixelFlags": not good and dice[2] < 0.5, "pixelFlags_bad": not good and dice[2] < 0.2,
            "pixelFlags_cr": not good and 0.2 < dice[2] < 0.5, "pixelFlags_edge": not good and dice[3] < 0.2,
        }  # fmt: skip
        return filled(self.records["diaSource"], values)

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        mjd, err = thing.mjd[epoch], thing.flux_err[epoch]
        values = {
            "diaForcedSourceId": OBJECT_ID + int((mjd - 60000) * 86400) * 10**8 + (self.seed % 100 + 100) * 10**6 + self._count(thing, epoch), "ra": thing.ra,
            "dec": thing.dec, "visit": _visit(mjd), "detector": thing.number % 189, "psfFlux": thing.flux[epoch], "psfFluxErr": err, "midpointMjdTai": mjd,
            "scienceFlux": thing.flux[epoch] + thing.template_flux, "scienceFluxErr": err, "band": thing.band[epoch], "timeProcessedMjdTai": mjd + 0.0013,
        }  # fmt: skip
        return self.records["prvDiaForcedSources"] | values

    def _object(self, thing: MadeObject, seen: list[int], epoch: int, object_id: int) -> dict[str, Any]:
        """The object after this detection, with the statistics of each band's detections."""
        points = [*seen, epoch]
        values: dict[str, Any] = {
            "diaObjectId": object_id, "validityStartMjdTai": thing.mjd[epoch] + 0.0014, "ra": thing.ra, "raErr": 2e-5, "dec": thing.dec, "decErr": 2e-5,
            "ra_dec_Cov": 0.0, "nDiaSources": len(points), "firstDiaSourceMjdTai": thing.mjd[points[0]], "lastDiaSourceMjdTai": thing.mjd[epoch],
        }  # fmt: skip
        if thing.moving:
            values["ra"], values["dec"] = thing.place(epoch)
        for band in {thing.band[place] for place in points}:
            chosen = [place for place in points if thing.band[place] == band]
            flux, err, time = ([column[place] for place in chosen] for column in (thing.flux, thing.flux_err, thing.mjd))
            weights = [1 / part**2 for part in err]
            mean, number = sum(w * f for w, f in zip(weights, flux, strict=True)) / sum(weights), len(chosen)
            slopes = [(flux[i + 1] - flux[i]) / (time[i + 1] - time[i]) for i in range(number - 1)]
            values |= {
                f"{band}_psfFluxMean": mean, f"{band}_psfFluxMeanErr": sum(weights) ** -0.5, f"{band}_psfFluxNdata": number, f"{band}_psfFluxMin": min(flux),
                f"{band}_psfFluxSigma": (sum((f - mean) ** 2 for f in flux) / (number - 1)) ** 0.5 if number > 1 else None, f"{band}_psfFluxMax": max(flux),
                f"{band}_psfFluxMaxSlope": max(slopes) if slopes else None, f"{band}_psfFluxErrMean": sum(err) / number,
                f"{band}_scienceFluxMean": mean + thing.template_flux, f"{band}_scienceFluxMeanErr": sum(weights) ** -0.5,
            }  # fmt: skip
        return filled(self.records["diaObject"], values)

    def _solar_system(self, thing: MadeObject, epoch: int, source: dict[str, Any], moving_id: int) -> dict[str, Any]:
        """Where the ephemeris has a known asteroid, and its orbit; geometry of an outer asteroid seen from the Earth."""
        luck = thing.luck
        n = thing.number
        designation = f"2015 {chr(65 + n % 24)}{chr(65 + n // 24 % 24)}{n // 576 % 1000}"
        ra, dec = source["ra"], source["dec"]
        lon, sun = _ecliptic_longitude(ra, dec), np.radians(280.46 + 0.9856474 * (thing.mjd[epoch] - 51544.5))
        beta = float(ecliptic_latitude(ra, dec))
        near = 1.2 + luck[1]  # [au]
        earth = np.array([-np.cos(sun), -np.sin(sun), 0.0])
        topo = near * np.array([np.cos(np.radians(beta)) * np.cos(lon), np.cos(np.radians(beta)) * np.sin(lon), np.sin(np.radians(beta))])
        helio = earth + topo
        range_h = float(np.linalg.norm(helio))
        phase = float(np.degrees(np.arccos(np.clip(helio @ topo / range_h / near, -1, 1))))
        elongation = float(np.degrees(np.arccos(np.clip(-earth @ topo / near, -1, 1))))
        off_ra, off_dec = 0.1 * (luck[2] - 0.5), 0.1 * (luck[3] - 0.5)
        speed = 29.78 / range_h**0.5  # [km/s]
        along = np.array([-helio[1], helio[0], 0.0]) / max(float(np.hypot(helio[0], helio[1])), 1e-9) * speed
        moved = along - 29.78 * np.array([-earth[1], earth[0], 0.0])
        values = {
            "diaSourceId": source["diaSourceId"], "ssObjectId": moving_id, "designation": designation, "eclLambda": float(np.degrees(lon) % 360),
            "eclBeta": beta, "galLon": _galactic_longitude(ra, dec), "galLat": float(galactic_latitude(ra, dec)), "elongation": elongation,
            "phaseAngle": phase, "topoRange": near, "topoRangeRate": float(moved @ topo / near), "helioRange": range_h,
            "helioRangeRate": float(along @ helio / range_h),
            "ephRa": ra - off_ra / 3600 / max(float(np.cos(np.radians(dec))), 0.1), "ephDec": dec - off_dec / 3600, "ephVmag": float(thing.truth["mag"]) + 0.2,
            "ephRate": thing.speed_deg_per_day, "ephRateRa": thing.speed_deg_per_day, "ephRateDec": thing.speed_deg_per_day * 0.4 * (luck[0] - 0.5),
            "ephOffset": float(np.hypot(off_ra, off_dec)), "ephOffsetRa": off_ra, "ephOffsetDec": off_dec, "diaDistanceRank": 1,
            "helio_vtot": float(np.linalg.norm(along)), "topo_vtot": float(np.linalg.norm(moved)),
        }  # fmt: skip
        for name, place, velocity in (("helio", helio, along), ("topo", topo, moved)):
            values |= {f"{name}_{axis}": float(part) for axis, part in zip("xyz", place, strict=True)}
            values |= {f"{name}_v{axis}": float(part) for axis, part in zip("xyz", velocity, strict=True)}
        a, e, motion = 2.2 + luck[4], 0.3 * luck[5], 0.9856076686 / (2.2 + luck[4]) ** 1.5
        orbit = ORBIT | {
            "designation": designation, "packed_primary_provisional_designation": designation, "unpacked_primary_provisional_designation": designation,
            "a": a, "e": e, "i": abs(beta) + 2, "q": a * (1 - e), "node": 360 * luck[6], "argperi": 360 * luck[7], "mean_anomaly": 360 * luck[8],
            "mean_motion": motion, "period": 360 / motion, "peri_time": 61000.0 - 360 * luck[8] / motion, "h": float(thing.truth["mag"]) - 3.5,
            "earth_moid": a * (1 - e) - 1,
        }  # fmt: skip
        return {"ssSource": filled(self.records["ssSource"], values), "mpc_orbits": filled(self.records["mpc_orbits"], orbit)}


# Of every detection.
CONSTANT = {
    "ssObjectId": None, "parentDiaSourceId": 0, "exposureTime": 30.0, "ra_dec_Cov": 0.0, "xErr": 0.1, "yErr": 0.1, "psfNdata": 1681, "trailNdata": 1681,
    "trailAlgorithm": 0, "dipoleNdata": 0, "ixx": 0.36, "iyy": 0.36, "ixy": 0.0, "ixxPSF": 0.36, "iyyPSF": 0.36, "ixyPSF": 0.0, "dipoleFitAttempted": False,
    "bboxSize": 40, "glint_trail": False, "reliabilityVersion": "made-up",
}  # fmt: skip
# Of every orbit; times are those that the survey writes for "not known".
ORBIT: dict[str, Any] = {
    "id": 0, "mpc_orb_jsonb": "{}", "created_at": 0, "updated_at": 0, "fitting_datetime": 0, "orbit_type_int": -1, "u_param": 0, "nopp": 12,
    "arc_length_total": 6000.0, "arc_length_sel": 6000.0, "nobs_total": 500, "nobs_total_sel": 490, "epoch_mjd": 61000.0, "g": 0.15,
    "not_normalized_rms": 0.0, "normalized_rms": 0.8, **dict.fromkeys(("yarkovsky", "srp", "a1", "a2", "a3", "dt"), 0.0),
    **dict.fromkeys(("yarkovsky_unc", "srp_unc", "a1_unc", "a2_unc", "a3_unc", "dt_unc"), 0.0), "a_unc": 5e-9, "q_unc": 4e-8, "e_unc": 1e-8, "i_unc": 2e-6,
    "node_unc": 1e-5, "argperi_unc": 1e-5, "peri_time_unc": 1e-5, "mean_anomaly_unc": 3e-6, "period_unc": 5e-6, "mean_motion_unc": 7e-10,
}  # fmt: skip


def _visit(mjd: float) -> int:
    """Number of a visit: date of its evening and count within the night."""
    day, part = divmod(mjd - 0.5, 1)
    found = date.fromordinal(int(day) + 678576)
    return (found.year * 10_000 + found.month * 100 + found.day) * 100_000 + int(part * 86400 / 34)


def _ecliptic_longitude(ra: float, dec: float) -> float:
    right, up, tilt = np.radians(ra), np.radians(dec), np.radians(23.4392911)
    return float(np.arctan2(np.sin(right) * np.cos(tilt) + np.tan(up) * np.sin(tilt), np.cos(right)))


def _galactic_longitude(ra: float, dec: float) -> float:
    """Galactic longitude [deg]; pole and node as in sky.py."""
    right, up, pole = np.radians(ra - 192.85948), np.radians(dec), np.radians(27.12825)
    angle = np.arctan2(np.cos(up) * np.sin(right), np.sin(up) * np.cos(pole) - np.cos(up) * np.sin(pole) * np.cos(right))
    return float((32.93192 + 90 - np.degrees(angle)) % 360)
