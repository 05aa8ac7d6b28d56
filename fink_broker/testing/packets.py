"""Made-up objects as packets of each survey's schema."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from fink_broker.schema import Schema
from fink_broker.sky import ecliptic_latitude
from fink_broker.survey import Survey
from fink_broker.testing.objects import MadeObject
from fink_broker.testing.stamps import VARIANTS, stamps

LN = 2.5 / np.log(10)


def blank(schema: Any, named: dict[str, Any] | None = None) -> Any:
    """A value of a schema with nothing in it: null where it may be, else 0, "" or empty."""
    named = {} if named is None else named
    if isinstance(schema, list):
        return None if "null" in schema else blank(schema[0], named)
    if isinstance(schema, str):
        return blank(named[schema], named) if schema in named else {"string": "", "bytes": b"", "boolean": False}.get(schema, 0)
    if schema["type"] == "record":
        named[schema["name"]] = schema
        return {field["name"]: blank(field["type"], named) for field in schema["fields"]}
    return [] if schema["type"] == "array" else blank(schema["type"], named)


def record_of(schema: Any, *path: str) -> Any:
    """The record schema at a path of field names."""
    for name in path:
        kind = next(field["type"] for field in schema["fields"] if field["name"] == name)
        kind = next(part for part in kind if part != "null") if isinstance(kind, list) else kind
        schema = kind["items"] if isinstance(kind, dict) and kind["type"] == "array" else kind
    return schema


class Packer:
    """Turns a detection of a made-up object into (packet, alert id, object id)."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        self.schema, self.survey, self.seed, self.made = schema, survey, seed, 0
        self.rng = np.random.default_rng(seed)
        self.empty = blank(schema.json)
        self.named: dict[str, Any] = {}
        blank(schema.json, self.named)

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """The packet of one detection."""
        raise NotImplementedError

    def _stamps(self, thing: MadeObject, epoch: int, size: int, lsst: bool) -> tuple[bytes, bytes, bytes]:
        brightness = int(np.clip(np.log2(abs(thing.flux[epoch]) / thing.flux_err[epoch]), 2, 7))
        sign = 1 if thing.flux[epoch] > 0 else -1
        return stamps(thing.kind, brightness, sign, self.made % VARIANTS, size, lsst)


class Ztf(Packer):
    """ZTF: 30 days of detections and upper limits, forced photometry, gzipped stamps of 63 pixels."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        self.candidate = blank(record_of(schema.json, "candidate"))
        self.previous = blank(record_of(schema.json, "prv_candidates"))
        self.forced = blank(record_of(schema.json, "fp_hists"))
        self.fid = {band: place + 1 for place, band in enumerate(survey.bands)}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        self.made += 1
        moving = thing.kind == "asteroid"
        name = _ztf_name(self.seed, thing.number * 64 + (epoch if moving else 0))
        earlier = [] if moving or thing.kind == "bogus" else range(epoch)
        found = [place for place in thing.detections if place <= epoch and (place == epoch or not moving)]
        candidate = self._measured(self.candidate, thing, epoch)
        jd = candidate["jd"]
        good = thing.kind != "bogus"
        rng = self.rng
        near_star = thing.kind in ("variable", "microlensing")
        ra, dec = thing.place(epoch)
        snr = abs(thing.flux[epoch]) / thing.flux_err[epoch]
        candidate.update(
            ra=ra, dec=dec, ranr=ra, decnr=dec, nbad=0 if good else int(rng.integers(0, 4)), programpi="Kulkarni", tblid=self.made % 1000,
            rb=float(rng.beta(9, 2) if good else rng.beta(2, 5)), drb=float(rng.beta(12, 1.2) if good else rng.beta(1.2, 6)),
            rbversion="t17_f5_c3", drbversion="d6_m7", magap=candidate["magpsf"] + float(rng.normal(0, 0.05)), sigmagap=candidate["sigmapsf"] * 1.2,
            magdiff=float(rng.normal(0, 0.04 if good else 0.4)), fwhm=float(rng.normal(2.4, 0.3) if good else rng.normal(5, 2)),
            classtar=float(rng.beta(9, 1)), mindtoedge=float(rng.uniform(20, 1500)), seeratio=1.0, aimage=0.8, bimage=0.75, aimagerat=0.35,
            bimagerat=0.33, elong=float(1 + abs(rng.normal(0, 0.08 if good else 0.8))), nneg=int(rng.integers(0, 6)), sumrat=0.95,
            magfromlim=float(thing.depth[epoch] - candidate["magpsf"]), ssdistnr=-999.0, ssmagnr=-999.0, ssnamenr="null",
            sky=float(rng.normal(0, 0.5)), chipsf=float(abs(rng.normal(1, 0.3))), chinr=0.6, sharpnr=0.02,
            magapbig=candidate["magpsf"] - 0.05, sigmagapbig=candidate["sigmapsf"] * 1.5, scorr=float(snr), tooflag=0,
            distnr=0.3 if near_star else float(rng.uniform(2, 20)), magnr=float(31.4 - 2.5 * np.log10(thing.template_flux)) if thing.template_flux else 21.0,
            sigmagnr=0.03, ndethist=len(found), ncovhist=epoch + int(rng.integers(10, 400)), jdstarthist=_jd(thing.mjd[found[0]]),
            jdendhist=jd, nmtchps=9, rfid=695120110, jdstartref=2458180.7, jdendref=2458280.9, nframesref=15, nmatches=800, dsnrms=4.0, ssnrms=9.0,
            dsdiff=-5.0, zpmed=26.2, clrmed=0.6, clrrms=0.2, zpclrcov=-2e-6, neargaia=0.3 if near_star else float(rng.uniform(3, 50)), maggaia=17.0,
            neargaiabright=-999.0, maggaiabright=-999.0, exptime=30.0,
        )  # fmt: skip
        for place in (1, 2, 3):
            here = near_star and place == 1
            apart = 0.25 if here else float(rng.uniform(1.8, 9)) * place
            score = 0.98 if here else (0.05 if thing.kind == "supernova" else float(rng.uniform(0.3, 1)))
            values = {"objectidps": 100000000000 + thing.number, "distpsnr": apart, "sgscore": score}
            values |= {f"s{band}mag": 18.0 + place for band in "griz"}
            candidate.update({f"{key}{place}": value for key, value in values.items() if f"{key}{place}" in candidate})
        if moving and thing.known:
            name_or_number = str(1000 + thing.number % 500_000)
            candidate.update(ssdistnr=float(rng.uniform(0, 2)), ssmagnr=float(candidate["magpsf"] + rng.normal(0, 0.2)), ssnamenr=name_or_number)
        science, template, difference = self._stamps(thing, epoch, 63, lsst=False)
        stem = f"candid{candidate['candid']}"
        packet = {
            **self.empty, "schemavsn": self.schema.version, "publisher": "ZTF (made up)", "objectId": name, "candid": candidate["candid"],
            "candidate": candidate,
            "prv_candidates": [self._earlier(thing, place) for place in earlier if thing.mjd[place] > thing.mjd[epoch] - 30] or None,
            "fp_hists": [self._forced(thing, place) for place in earlier if thing.mjd[place] > thing.mjd[epoch] - 30] or None,
            "cutoutScience": {"fileName": f"{stem}_sci.fits.gz", "stampData": science},
            "cutoutTemplate": {"fileName": f"{stem}_ref.fits.gz", "stampData": template},
            "cutoutDifference": {"fileName": f"{stem}_diff.fits.gz", "stampData": difference},
        }  # fmt: skip
        return packet, str(candidate["candid"]), name

    def _measured(self, start: dict[str, Any], thing: MadeObject, epoch: int) -> dict[str, Any]:
        flux, err = float(thing.flux[epoch]), float(thing.flux_err[epoch])
        mag = 31.4 - 2.5 * np.log10(abs(flux))
        ra, dec = thing.place(epoch)
        record = self._visit(start, thing, epoch)
        record.update(candid=self._candid(thing, epoch), isdiffpos="t" if flux > 0 else "f", magpsf=float(mag), sigmapsf=float(LN * err / abs(flux)),
                      ra=ra, dec=dec, xpos=1500.0, ypos=1500.0)  # fmt: skip
        return record

    def _visit(self, start: dict[str, Any], thing: MadeObject, epoch: int) -> dict[str, Any]:
        jd = _jd(thing.mjd[epoch])
        record = copy(start)
        record.update(jd=jd, fid=self.fid[thing.band[epoch]], pid=int((jd - 2457754.5) * 1e6) * 1_000_000 + 15, programid=1,
                      diffmaglim=float(thing.depth[epoch]), nid=int(jd - 2457754.5), rcid=15, field=600 + thing.number % 200, rbversion="t17_f5_c3",
                      magzpsci=26.2, magzpsciunc=1e-5, magzpscirms=0.03, clrcoeff=-0.05, clrcounc=2e-5, pdiffimfilename="made-up.fits",
                      programpi="Kulkarni")  # fmt: skip
        return record

    def _earlier(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        if abs(thing.flux[epoch]) < 5 * thing.flux_err[epoch]:
            return self._visit(self.previous, thing, epoch)
        record = self._measured(self.previous, thing, epoch)
        record.update(rb=0.8, nbad=0, fwhm=2.4, elong=1.1, magap=record["magpsf"], sigmagap=record["sigmapsf"], magdiff=0.0)
        return record

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        unit = 10 ** ((31.4 - 26.2) / 2.5)
        record = copy(self.forced)
        seen = self._visit({}, thing, epoch)
        record.update({name: value for name, value in seen.items() if name in record})
        record.update(forcediffimflux=float(thing.flux[epoch] / unit), forcediffimfluxunc=float(thing.flux_err[epoch] / unit), procstatus="0",
                      exptime=30.0, rfid=695120110, sciinpseeing=2.0, scibckgnd=200.0, scisigpix=9.0, ranr=thing.ra, decnr=thing.dec,
                      distnr=0.5, magnr=18.0, sigmagnr=0.03, chinr=0.6, sharpnr=0.02, adpctdif1=0.1, adpctdif2=0.1)  # fmt: skip
        return record

    def _candid(self, thing: MadeObject, epoch: int) -> int:
        return int((_jd(thing.mjd[epoch]) - 2457754.5) * 1e6) * 10**9 + (self.seed % 90 + 10) * 10**7 + (thing.number * 64 + epoch) % 10**7


class Lsst(Packer):
    """LSST: earlier detections and forced photometry, orbit of known asteroids, plain FITS stamps with three HDUs."""

    SIZE = 51

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        top = schema.json
        self.records = {name: blank(record_of(top, name)) for name in ("diaSource", "diaObject", "ssSource", "mpc_orbits", "prvDiaForcedSources")}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        self.made += 1
        moving = thing.kind == "asteroid" and thing.known
        object_id = 0 if moving else 170_000_000_000_000_000 + self.seed * 10**12 + thing.number * 64 + (epoch if thing.kind == "asteroid" else 0)
        ss_id = 21_163_000_000_000_000 + thing.number if moving else 0
        source = self._source(thing, epoch, object_id, ss_id)
        seen = [place for place in thing.detections if place < epoch]
        alone = thing.kind in ("asteroid", "bogus")
        packet = {
            **self.empty,
            "diaSourceId": source["diaSourceId"],
            "diaSource": source,
            "prvDiaSources": None if alone or not seen else [self._source(thing, place, object_id, 0) for place in seen],
            "prvDiaForcedSources": None if moving else [] if alone else [self._forced(thing, place, object_id) for place in range(epoch)],
            "diaObject": None if moving else self._object(thing, seen, epoch, object_id),
        }
        if moving:
            packet |= self._solar_system(thing, epoch, source, ss_id)
        names = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
        packet |= dict(zip(names, self._stamps(thing, epoch, self.SIZE, lsst=True), strict=True))
        return packet, str(source["diaSourceId"]), str(object_id or ss_id)

    def _source(self, thing: MadeObject, epoch: int, object_id: int, ss_id: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, thing.number % 2**31, epoch])
        flux, err = float(thing.flux[epoch]), float(thing.flux_err[epoch])
        ra, dec = thing.place(epoch)
        good = thing.kind != "bogus"
        record = copy(self.records["diaSource"])
        flags = {name: False for name in record if name.startswith("pixelFlags") or name.endswith("_flag") or "_flag_" in name}
        record.update(flags)
        visit = int(thing.mjd[epoch] * 1000)
        values = dict(
            diaSourceId=visit * 10**10 + (self.seed % 100) * 10**8 + (thing.number * 64 + epoch) % 10**8,
            visit=visit, detector=thing.number % 189,
            diaObjectId=object_id, ssObjectId=ss_id, parentDiaSourceId=0, midpointMjdTai=float(thing.mjd[epoch]), ra=ra, raErr=2e-5, dec=dec,
            decErr=2e-5, ra_dec_Cov=0.0, x=2000.0, xErr=0.1, y=2000.0, yErr=0.1, apFlux=flux * float(rng.normal(1, 0.02)), apFluxErr=err * 1.5,
            isNegative=flux < 0, snr=abs(flux) / err, psfFlux=flux, psfFluxErr=err, psfLnL=-800.0, psfChi2=float(rng.normal(1600, 60)), psfNdata=1681,
            trailFlux=flux, trailLength=float(abs(rng.normal(0.1, 0.05))), trailNdata=1681, dipoleNdata=1681, scienceFlux=flux + thing.template_flux,
            scienceFluxErr=err, templateFlux=thing.template_flux, templateFluxErr=err / 3, ixx=0.05, iyy=0.05, ixy=0.0, ixxPSF=0.05, iyyPSF=0.05,
            ixyPSF=0.0, extendedness=0.0, reliability=float(rng.beta(9, 1.2) if good else rng.beta(1.2, 6)), band=thing.band[epoch],
            isDipole=not good and bool(rng.random() < 0.3), dipoleFitAttempted=True, timeProcessedMjdTai=float(thing.mjd[epoch]) + 0.001,
            bboxSize=40, glint_trail=False, exposureTime=30.0, reliabilityVersion="made-up",
        )  # fmt: skip
        record.update({name: value for name, value in values.items() if name in record})
        return record

    def _forced(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        record = copy(self.records["prvDiaForcedSources"])
        visit = int(thing.mjd[epoch] * 1000)
        record.update(
            diaForcedSourceId=visit * 10**10 + thing.number % 10**9, diaObjectId=object_id, ra=thing.ra, dec=thing.dec, visit=visit,
            detector=thing.number % 189, psfFlux=float(thing.flux[epoch]), psfFluxErr=float(thing.flux_err[epoch]), midpointMjdTai=float(thing.mjd[epoch]),
            scienceFlux=float(thing.flux[epoch] + thing.template_flux), scienceFluxErr=float(thing.flux_err[epoch]), band=thing.band[epoch],
            timeProcessedMjdTai=float(thing.mjd[epoch]) + 0.001,
        )  # fmt: skip
        return record

    def _object(self, thing: MadeObject, seen: list[int], epoch: int, object_id: int) -> dict[str, Any]:
        first = seen[0] if seen and thing.kind not in ("asteroid", "bogus") else epoch
        record = copy(self.records["diaObject"])
        count = len(seen) + 1 if thing.kind not in ("asteroid", "bogus") else 1
        values = {"diaObjectId": object_id, "validityStartMjdTai": float(thing.mjd[epoch]), "ra": thing.ra, "raErr": 2e-5, "dec": thing.dec,
                  "decErr": 2e-5, "nDiaSources": count, "firstDiaSourceMjdTai": float(thing.mjd[first]),
                  "lastDiaSourceMjdTai": float(thing.mjd[epoch])}  # fmt: skip
        record.update({name: value for name, value in values.items() if name in record})
        return record

    def _solar_system(self, thing: MadeObject, epoch: int, source: dict[str, Any], ss_id: int) -> dict[str, Any]:
        designation = f"2015 {chr(65 + thing.number % 24)}{chr(65 + thing.number // 24 % 24)}{thing.number % 400}"
        near, orbit = copy(self.records["ssSource"]), copy(self.records["mpc_orbits"])
        ra, dec = thing.place(epoch)
        near.update(diaSourceId=source["diaSourceId"], ssObjectId=ss_id, designation=designation, eclBeta=float(ecliptic_latitude(ra, dec)),
                    phaseAngle=12.0, topoRange=1.6, helioRange=2.5, ephRa=ra, ephDec=dec, ephVmag=20.0, ephRate=thing.speed_deg_per_day,
                    ephOffset=0.08, diaDistanceRank=1)  # fmt: skip
        orbit.update(designation=designation, unpacked_primary_provisional_designation=designation, a=2.6, e=0.12, i=7.0, q=2.29, node=80.0,
                     argperi=120.0, h=17.0, g=0.15, epoch_mjd=61000.0)  # fmt: skip
        return {"ssSource": near, "mpc_orbits": orbit}


class Elasticc(Packer):
    """ELAsTiCC: fluxes only, a host galaxy in diaObject, no cutouts."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        self.records = {name: blank(record_of(schema.json, name)) for name in ("diaSource", "prvDiaForcedSources", "diaObject")}
        self.letter = {band: band.upper() if band == "y" else band for band in survey.bands}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        self.made += 1
        object_id = self.seed * 10**8 + thing.number * 64 % 10**8 + (epoch if thing.kind == "asteroid" else 0)
        source = self._source(thing, epoch, object_id)
        seen = [place for place in thing.detections if place < epoch and thing.kind not in ("asteroid", "bogus")]
        host = copy(self.records["diaObject"])
        host.update(diaObjectId=object_id, ra=thing.ra, decl=thing.dec, mwebv=0.05, mwebv_err=0.003, z_final=thing.truth.get("redshift", -9.0),
                    z_final_err=0.01, hostgal_snsep=0.4, hostgal_zphot=thing.truth.get("redshift", -9.0), hostgal_zspec=-9.0, simVersion="made up")  # fmt: skip
        packet = {
            **self.empty, "alertId": source["diaSourceId"], "diaSource": source,
            "prvDiaSources": [self._source(thing, place, object_id) for place in seen] or None,
            "prvDiaForcedSources": [self._forced(thing, place, object_id) for place in range(epoch)] or None,
            "diaObject": {name: value for name, value in host.items() if name in self.records["diaObject"]},
        }  # fmt: skip
        return packet, str(source["diaSourceId"]), str(object_id)

    def _source(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        flux, err = float(thing.flux[epoch]), float(thing.flux_err[epoch])
        ra, dec = thing.place(epoch)
        record = copy(self.records["diaSource"])
        record.update(diaSourceId=object_id * 2000 + epoch, ccdVisitId=int(thing.mjd[epoch] * 1000), diaObjectId=object_id, midPointTai=float(thing.mjd[epoch]),
                      filterName=self.letter[thing.band[epoch]], ra=ra, decl=dec, psFlux=flux, psFluxErr=err, snr=flux / err, nobs=float(epoch))  # fmt: skip
        return record

    def _forced(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        record = copy(self.records["prvDiaForcedSources"])
        record.update(diaForcedSourceId=object_id * 2000 + 1000 + epoch, ccdVisitId=int(thing.mjd[epoch] * 1000), diaObjectId=object_id,
                      midPointTai=float(thing.mjd[epoch]), filterName=self.letter[thing.band[epoch]], psFlux=float(thing.flux[epoch]),
                      psFluxErr=float(thing.flux_err[epoch]), totFlux=float(thing.flux[epoch] + thing.template_flux),
                      totFluxErr=float(thing.flux_err[epoch]))  # fmt: skip
        return record


def _jd(mjd_tai: float) -> float:
    return float(mjd_tai) + 2400000.5 - 37 / 86400


def _ztf_name(seed: int, number: int) -> str:
    letters, value = "", number + seed * 7919 * 64
    for _ in range(7):
        value, rest = divmod(value, 26)
        letters = chr(97 + rest) + letters
    return f"ZTF25{letters}"


PACKERS: dict[str, type[Packer]] = {"ztf": Ztf, "lsst": Lsst, "elasticc": Elasticc}
