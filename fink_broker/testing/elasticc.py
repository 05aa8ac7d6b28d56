"""Made-up packets of ELAsTiCC: fluxes only, a host galaxy in diaObject, no cutouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fink_broker.schema import Schema
from fink_broker.survey import Survey
from fink_broker.testing.objects import MadeObject
from fink_broker.testing.packets import Packer, blank, filled, kept, record_of

# Standard normal deviates of the quantiles 0, 10 ... 100 % (the ends as 3 sigma).
QUANTILES = (-3.0, -1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816, 3.0)
HOST_COLOURS = {"u": 2.2, "g": 0.8, "r": 0.0, "i": -0.35, "z": -0.55, "Y": -0.65}


class Elasticc(Packer):
    """Packs made-up things as alerts of the ELAsTiCC challenge."""

    def __init__(self, schema: Schema, survey: Survey, seed: int) -> None:
        super().__init__(schema, survey, seed)
        self.records = {name: blank(record_of(schema.json, name)) for name in ("diaSource", "prvDiaForcedSources", "diaObject")}
        self.letter = {band: band.upper() if band == "y" else band for band in survey.bands}
        self.hostless = {name: _missing(name) for name in self.records["diaObject"] if name.startswith("hostgal")}

    def pack(self, thing: MadeObject, epoch: int) -> tuple[dict[str, Any], str, str]:
        """See Packer."""
        object_id = self.seed % 20_000 * 10**8 + self._number(thing, epoch)
        ids = {"diaObjectId": object_id}
        source = kept(thing, epoch, self._source) | ids | {"diaSourceId": object_id * 2000 + epoch}
        before = thing.earlier(epoch)
        seen = [self._seen(thing, place, object_id) for place in thing.seen(epoch)]
        forced = [self._at_place(thing, place, object_id) for place in before] if seen else []
        packet = {
            **self.empty, "alertId": source["diaSourceId"], "diaSource": source, "prvDiaSources": seen or None, "prvDiaForcedSources": forced or None,
            "diaObject": self._object(thing, object_id),
        }  # fmt: skip
        return packet, str(source["diaSourceId"]), str(object_id)

    def _seen(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        """An earlier detection."""
        return kept(thing, epoch, self._source) | {"diaObjectId": object_id, "diaSourceId": object_id * 2000 + epoch}

    def _at_place(self, thing: MadeObject, epoch: int, object_id: int) -> dict[str, Any]:
        """Forced photometry of an earlier visit."""
        return self._forced(thing, epoch) | {"diaObjectId": object_id, "diaForcedSourceId": object_id * 2000 + epoch}

    def _source(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        flux, err = thing.flux[epoch], thing.flux_err[epoch]
        ra, dec = thing.place(epoch)
        values = {"ccdVisitId": -1, "midPointTai": thing.mjd[epoch], "filterName": self.letter[thing.band[epoch]], "ra": ra, "decl": dec, "psFlux": flux,
                  "psFluxErr": err, "snr": flux / err, "nobs": float(epoch + 1)}  # fmt: skip
        return filled(self.records["diaSource"], values)

    def _forced(self, thing: MadeObject, epoch: int) -> dict[str, Any]:
        values = {"ccdVisitId": int(thing.mjd[epoch] * 1e5) * 1000 + thing.number % 189, "midPointTai": thing.mjd[epoch], "psFlux": thing.flux[epoch],
                  "filterName": self.letter[thing.band[epoch]], "psFluxErr": thing.flux_err[epoch], "totFlux": -1.0, "totFluxErr": 1.0}  # fmt: skip
        return filled(self.records["prvDiaForcedSources"], values)

    def _object(self, thing: MadeObject, object_id: int) -> dict[str, Any]:
        """The object; a supernova has one host galaxy, nothing has a second one."""
        luck = thing.luck
        values: dict[str, Any] = {"diaObjectId": object_id, "ra": thing.ra, "decl": thing.dec, "mwebv": 0.01 + 0.1 * luck[1], "simVersion": "made up",
                                  "mwebv_err": 0.0005 + 0.005 * luck[1], "z_final": -9.0, "z_final_err": -9.0, **self.hostless}  # fmt: skip
        if thing.kind == "supernova":
            z, err = thing.truth["redshift"], 0.02 + 0.05 * luck[2]
            found, mag = z + err * (luck[3] - 0.5), 31.4 - 2.5 * np.log10(thing.template_flux)
            apart = 0.2 + 2 * luck[4]
            values |= {
                "z_final": found, "z_final_err": err, "hostgal_zphot": found, "hostgal_zphot_err": err, "hostgal_ellipticity": 0.5 * luck[5],
                "hostgal_sqradius": 5 + 30 * luck[6], "hostgal_ra": thing.ra + apart / 3600, "hostgal_dec": thing.dec, "hostgal_zphot_p50": found,
                "hostgal_snsep": apart * float(np.cos(np.radians(thing.dec))),
            }  # fmt: skip
            values |= {f"hostgal_zphot_q{10 * i:03d}": max(found + err * sigma, 0.001) for i, sigma in enumerate(QUANTILES)}
            for band, colour in HOST_COLOURS.items():
                values |= {f"hostgal_mag_{band}": float(mag + colour), f"hostgal_magerr_{band}": 0.02}
        return filled(self.records["diaObject"], values)


def _missing(name: str) -> float | None:
    """What the survey writes where there is no host galaxy."""
    part = name.split("_", 1)[1]
    if part == "zphot_p50":
        return None
    if part.startswith("mag"):
        return 999.0
    if part in ("ellipticity", "sqradius"):
        return -9999.0
    return -9.0 if part.startswith("zphot_q") or part == "snsep" else -999.0
