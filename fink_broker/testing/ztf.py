"""Made-up packets of ZTF: 30 days of detections and upper limits, forced photometry, gzipped stamps of 63 pixels."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from fink_broker.schema import Schema
from fink_broker.survey import Survey
from fink_broker.testing.objects import MadeObject
from fink_broker.testing.packets import LN, Packer, blank, filled, kept, record_of

HISTORY_DAYS = 30.0
ZERO_POINT = 26.2  # [mag]
UNIT = 10 ** ((31.4 - ZERO_POINT) / 2.5)  # [nJy] of one count
MISSING = -999.0
NOT_MEASURED = -99999.0
# Calibration and reference image: constants of a visit in the real stream, the same for all visits here.
VISIT = {
    "programid": 1, "programpi": "Kulkarni", "rbversion": "t17_f5_c3", "magzpsci": ZERO_POINT, "magzpsciunc": 1e-5, "magzpscirms": 0.03,
    "clrcoeff": -0.05, "clrcounc": 2e-5, "exptime": 30.0,
}  # fmt: skip
REFERENCE = {
    "nmtchps": 9, "jdstartref": 2458180.7, "jdendref": 2458280.9, "nframesref": 15, "nmatches": 800, "dsnrms": 4.0, "ssnrms": 9.0, "dsdiff": -5.0,
    "zpmed": ZERO_POINT, "clrmed": 0.6, "clrrms": 0.2, "zpclrcov": -2e-6, "drbversion": "d6_m7", "tooflag": 0, "neargaiabright": MISSING,
    "maggaiabright": MISSING,
}  # fmt: skip


class Ztf(Packer):
    """Packs made-up things as alerts of the Zwicky Transient Facility."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        self.candidate = blank(record_of(schema.json, "candidate")) | VISIT | REFERENCE
        self.limit = filled(blank(record_of(schema.json, "prv_candidates")), VISIT)
        self.names = tuple(self.limit)
        self.take = itemgetter(*self.names)
        self.forced = filled(blank(record_of(schema.json, "fp_hists")), VISIT)
        self.fid = {band: place + 1 for place, band in enumerate(survey.bands)}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        name = ztf_name(self.seed, self._number(thing, epoch))
        candidate = self._candidate(thing, epoch)
        candid = candidate["candid"]
        science, template, difference = self._stamps(thing, epoch, deep=False)
        earlier = thing.earlier(epoch, HISTORY_DAYS)
        packet = {
            **self.empty, "schemavsn": self.schema.version, "publisher": "ZTF (made up)", "objectId": name, "candid": candid, "candidate": candidate,
            "prv_candidates": [self._earlier(thing, place) for place in earlier] or None,
            "fp_hists": [self._forced(thing, place) for place in earlier] or None,
            "cutoutScience": {"fileName": f"candid{candid}_targ_sci.fits.gz", "stampData": science},
            "cutoutTemplate": {"fileName": f"candid{candid}_ref.fits.gz", "stampData": template},
            "cutoutDifference": {"fileName": f"candid{candid}_targ_refmsci.fits.gz", "stampData": difference},
        }  # fmt: skip
        return packet, str(candid), name

    def _visit(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        jd = _jd(thing.mjd[epoch])
        day = jd - 2457754.5  # 2017-01-01, from which ZTF counts
        rcid = (thing.number * 7 + self.seed) % 64
        return {
            "jd": jd, "fid": self.fid[thing.band[epoch]], "pid": int(day * 1e5) * 10_000 + rcid * 100 + 15, "nid": int(day), "rcid": rcid,
            "field": 245 + thing.number % 637, "diffmaglim": thing.depth[epoch], "pdiffimfilename": f"ztf_made_up_{int(day * 1e5)}_{rcid:02d}.fits",
        }  # fmt: skip

    def _candidate(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        """All 103 fields of a detection; what depends on chance is the same whenever the visit is spoken of."""
        flux, err, dice = thing.flux[epoch], thing.flux_err[epoch], thing.dice[epoch]
        good, star = thing.kind != "bogus", thing.kind in ("variable", "microlensing")
        mag, mag_err = float(31.4 - 2.5 * np.log10(abs(flux))), LN * err / abs(flux)
        ra, dec = thing.place(epoch)
        visit = self._visit(thing, epoch)
        seen = [*thing.seen(epoch), epoch]
        elongated = 0.15 * dice[2] if good else 1.5 * dice[2]
        fwhm = 2.4 + (dice[3] - 0.5) if good else 1.0 + 8 * dice[3]
        ap_offset = (dice[4] - 0.5) * (0.15 if good else 1.5)
        ref_mag = float(31.4 - 2.5 * np.log10(thing.template_flux)) if thing.template_flux else 21.0 + thing.luck[1]
        return self.candidate | visit | {
            "candid": visit["pid"] * 1_000_000 + (self._count(thing, epoch) + self.seed * 320_009) % 1_000_000,
            "isdiffpos": "t" if flux > 0 else "f", "tblid": int(dice[5] * 100), "ra": ra, "dec": dec, "xpos": 60 + 2900 * dice[6], "ypos": 60 + 2900 * dice[7],
            "mindtoedge": 60 + 2900 * min(dice[6], 1 - dice[6], dice[7], 1 - dice[7]), "magpsf": mag, "sigmapsf": mag_err, "magap": mag + ap_offset,
            "sigmagap": mag_err * 1.2, "magdiff": ap_offset, "magapbig": mag + ap_offset - 0.03, "sigmagapbig": mag_err * 1.5,
            "magfromlim": thing.depth[epoch] - mag, "chipsf": 0.5 + 2 * dice[8], "sky": dice[8] - 0.5, "fwhm": fwhm, "seeratio": fwhm / 2.2,
            "classtar": 1 - 0.3 * dice[1] if good else dice[1], "aimage": fwhm / 3.2, "bimage": fwhm / 3.2 / (1 + elongated), "elong": 1 + elongated,
            "aimagerat": 1 / 3.2, "bimagerat": 1 / 3.2 / (1 + elongated), "nneg": int(dice[5] * (6 if good else 12)), "nbad": 0 if good else int(dice[6] * 4),
            "sumrat": 1 - 0.1 * dice[7] if good else dice[7], "rb": 1 - 0.5 * dice[0] ** 2 if good else 0.6 * dice[0] ** 2,
            "drb": 1 - 0.3 * dice[1] ** 3 if good else 0.6 * dice[1] ** 3, "scorr": abs(flux) / err, "ndethist": len(seen),
            "ncovhist": epoch + 1 + int(thing.luck[2] * 400), "jdstarthist": _jd(thing.mjd[seen[0]]), "jdendhist": visit["jd"],
            "distnr": 0.3 if star else 2 + 18 * thing.luck[3], "magnr": ref_mag, "sigmagnr": 0.03, "chinr": 0.6, "sharpnr": 0.02, "ranr": ra, "decnr": dec,
            "rfid": _reference(visit), "neargaia": 0.3 if star else 3 + 40 * thing.luck[3],
            "maggaia": ref_mag if star else 17.0 + thing.luck[1],
        } | self._solar_system(thing, epoch, mag) | self._neighbours(thing, ra, dec, star, ref_mag)  # fmt: skip

    def _solar_system(self, thing: MadeObject, epoch: int, mag: float) -> dict[str, Any]:
        if not (thing.moving and thing.known):
            return {"ssdistnr": MISSING, "ssmagnr": MISSING, "ssnamenr": "null"}
        return {"ssdistnr": 2 * thing.dice[epoch][5], "ssmagnr": round(mag + thing.luck[4] - 0.5, 1), "ssnamenr": str(1000 + thing.number % 700_000)}

    def _neighbours(self, thing: MadeObject, ra: float, dec: float, star: bool, ref_mag: float) -> dict[str, Any]:
        """The three nearest Pan-STARRS sources."""
        values: dict[str, Any] = {}
        apart = 0.0
        for place in (1, 2, 3):
            luck = thing.luck[4 + place]
            apart += 0.25 if star and place == 1 else 1.2 if thing.kind == "supernova" and place == 1 else 2 + 8 * luck
            score = 0.98 if star and place == 1 else 0.02 + 0.1 * luck if thing.kind == "supernova" else luck
            mag = ref_mag if place == 1 else 18 + 4 * luck
            values |= {
                f"objectidps{place}": int((dec + 90) * 120) * 10**13 + int(ra * 1e6) * 10**4 + place,
                f"distpsnr{place}": apart,
                f"sgscore{place}": score,
            }
            values |= {f"s{band}mag{place}": mag + offset for band, offset in (("g", 0.5), ("r", 0.0), ("i", -0.2))}
            values[f"szmag{place}"] = mag - 0.3 if luck > 0.2 else MISSING
        return values

    def _earlier(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        """A detection as its own alert had it, or an upper limit."""
        return kept(thing, epoch, self._previous) if epoch in thing.detections else self.limit | self._visit(thing, epoch)

    def _previous(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        candidate = self._candidate(thing, epoch)
        return dict(zip(self.names, self.take(candidate), strict=True)) | {"ssdistnr": None, "ssmagnr": None, "ssnamenr": None}

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        dice, luck, visit = thing.dice[epoch], thing.luck, self._visit(thing, epoch)
        measured = dice[5] > 0.25
        return self.forced | {
            **{name: visit[name] for name in ("field", "rcid", "fid", "pid", "jd", "diffmaglim")},
            "forcediffimflux": thing.flux[epoch] / UNIT if measured else NOT_MEASURED,
            "forcediffimfluxunc": thing.flux_err[epoch] / UNIT if measured else NOT_MEASURED, "procstatus": "0" if measured else "61",
            "rfid": _reference(visit), "sciinpseeing": 1.6 + dice[3], "scibckgnd": 100 + 200 * dice[6], "scisigpix": 5 + 6 * dice[7], "ranr": thing.ra,
            "decnr": thing.dec, "distnr": 0.3 + 5 * luck[3], "magnr": 18 + luck[1], "sigmagnr": 0.03, "chinr": 0.6, "sharpnr": 0.02,
            "adpctdif1": 0.05 + 0.05 * dice[1], "adpctdif2": 0.05 + 0.05 * dice[2],
        }  # fmt: skip


def _reference(visit: dict[str, Any]) -> int:
    """Id of the reference image."""
    return int(visit["field"] * 1_000_000 + visit["fid"] * 100_000 + visit["rcid"])


def _jd(mjd_tai: float) -> float:
    return mjd_tai + 2400000.5 - 37 / 86400


def ztf_name(seed: int, number: int) -> str:
    """Name in the style of ZTF, its own for each seed (to 2,000) and number (to 4,000,000)."""
    value, letters = seed % 2000 * 4_000_000 + number % 4_000_000, ""
    for _ in range(7):
        value, rest = divmod(value, 26)
        letters = chr(97 + rest) + letters
    return f"ZTF25{letters}"
