"""One class for an alert, out of what the other modules say, with the reasons."""

from typing import Any

import numpy as np
import pandas as pd

from fink_broker.science import ScienceModule

CLASSES = {  # as in the module transient
    "sn_ia": "SN Ia", "sn_ibc": "SN Ib/c", "sn_ii": "SN II", "slsn": "SLSN", "tde": "TDE", "kilonova": "kilonova", "agn": "AGN", "dwarf_nova": "dwarf nova",
    "flare": "flare", "microlensing": "microlensing", "periodic_variable": "periodic variable", "asteroid": "asteroid", "bogus": "bogus", "other": "other",
}  # fmt: skip
# Beginnings of types in catalogues (GCVS, SIMBAD, AGN lists, our own list), and our classes; the longest that fits counts. A galaxy is a host, no class.
CATALOGUED = {
    "rr": "RR Lyrae", "dcep": "Cepheid", "cep": "Cepheid", "cw": "Cepheid", "delta cep": "Cepheid", "ea": "eclipsing binary", "eb": "eclipsing binary",
    "ew": "eclipsing binary", "e": "eclipsing binary", "eclipsing": "eclipsing binary", "ell": "periodic variable", "m": "long-period variable",
    "mira": "long-period variable", "sr": "long-period variable", "lb": "long-period variable", "lpv": "long-period variable", "dsct": "periodic variable",
    "by": "periodic variable", "rs": "periodic variable", "ug": "dwarf nova", "nl": "dwarf nova", "cv": "dwarf nova", "catacl": "dwarf nova",
    "dwarf nova": "dwarf nova", "uv": "flare", "flare": "flare", "qso": "AGN", "agn": "AGN", "sy": "AGN", "seyfert": "AGN", "bl lac": "AGN", "bll": "AGN",
    "blazar": "AGN", "fsrq": "AGN", "bcu": "AGN", "rdg": "AGN", "in": "other", "tt": "other", "t tau": "other", "yso": "other", "fu": "other",
}  # fmt: skip
STARS = ("RR Lyrae", "Cepheid", "eclipsing binary", "long-period variable")  # kinds of periodic variable that variable_star tells apart
# Of `stamp_class`, and what each of its classes is here.
STAMPS = {"bogus": ("bogus",), "asteroid": ("asteroid",), "transient": ("sn_ia", "sn_ibc", "sn_ii", "slsn", "tde", "kilonova"), "agn": ("agn",),
          "variable_star": ("dwarf_nova", "flare", "microlensing", "periodic_variable", "other")}  # fmt: skip
LEAST = 3  # detections from which on `early_snia` is asked
SUPERNOVAE = ("sn_ia", "sn_ibc", "sn_ii", "slsn")


class Summary(ScienceModule):
    """One class, its probability, and the reasons; null where no module says anything.

    Rules, the first that applies: (1) a known Solar System object is an asteroid. (2) A catalogued variable star or active nucleus within the catalogue's
    radius is what the catalogue says (`catalogue_probability`). (3) The probabilities of `transient`, with those of supernovae weighed by `early_snia`,
    periodic variables by `variable_star` where a period is no chance (false alarm below `max_false_alarm`), and all by `stamp_class` at a first alert, each
    with half its weight as they see the same object; the likeliest class if it has `min_probability`, else "unclear". A periodic variable takes the kind that
    `variable_star` tells. The weights, and how far each module agrees, are in the README.md beside.
    """

    name = "summary"
    version = "1.1"
    inputs = (
        "solar_system.known", "solar_system.distance_arcsec", "xmatch.catalog", "xmatch.name", "xmatch.class", "xmatch.distance_arcsec",
        "early_snia.probability", "early_snia.n_detections", "variable_star.class", "variable_star.probability", "variable_star.periodic",
        "variable_star.false_alarm_probability", *(f"transient.{name}" for name in CLASSES),
        "stamp_class.class", "stamp_class.probability", *(f"stamp_class.{name}" for name in STAMPS),
    )  # fmt: skip
    outputs = {"class": "string", "probability": "double", "reasons": "array<string>"}
    catalogue_probability: float = 0.95
    min_probability: float = 0.3
    max_false_alarm: float = 1e-3

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """The third rule for all alerts, then the second and the first over it."""
        chances = self._weighed(alerts)
        some = np.isfinite(chances).all(axis=1) & (chances.sum(axis=1) > 0) if len(alerts) else np.zeros(0, bool)
        best = np.where(some, np.nan_to_num(chances).argmax(axis=1), 0) if len(alerts) else np.zeros(0, int)
        top = chances[np.arange(len(alerts)), best]
        kind = np.where(some, np.array(list(CLASSES.values()), object)[best], None)
        star = alerts["variable_star.class"].to_numpy(object)
        kind = np.where((kind == "periodic variable") & np.isin(star.astype(str), STARS), star, kind)
        kind = np.where(some & (top < self.min_probability), "unclear", kind)
        out = {"class": kind, "probability": np.where(some, top, np.nan)}
        listed = [catalogued(value) for value in alerts["xmatch.class"]]
        rows = np.array([one is not None for one in listed], bool)
        out["class"][rows] = np.array(listed, object)[rows]
        out["probability"][rows] = self.catalogue_probability
        known = alerts["solar_system.known"].map(lambda value: value is True or value == 1).to_numpy(bool)
        out["class"][known], out["probability"][known] = "asteroid", 0.99
        reasons = [self._reasons(row) for row in alerts.to_dict("records")]
        return pd.DataFrame({**out, "reasons": pd.Series(reasons, index=alerts.index, dtype=object)}, index=alerts.index)

    def _weighed(self, alerts: pd.DataFrame) -> np.ndarray:
        """Probabilities of CLASSES; null where `transient` says nothing."""
        names = list(CLASSES)
        chances = np.column_stack([pd.to_numeric(alerts[f"transient.{name}"]).to_numpy(float) for name in names]) if len(alerts) else np.empty((0, len(names)))
        snia = np.clip(_numbers(alerts["early_snia.probability"]), 0.01, 0.99)
        told = np.isfinite(snia) & (_numbers(alerts["early_snia.n_detections"]) >= LEAST)
        ia, rest = names.index("sn_ia"), [names.index(name) for name in SUPERNOVAE[1:]]
        odds = np.where(told, np.sqrt(snia / (1 - snia)), 1.0)
        chances[:, ia] *= odds
        chances[:, rest] /= odds[:, None]
        periodic = np.clip(_numbers(alerts["variable_star.periodic"]), 0.01, 0.99)
        sure = np.isfinite(periodic) & (_numbers(alerts["variable_star.false_alarm_probability"]) < self.max_false_alarm)
        chances[:, names.index("periodic_variable")] *= np.where(sure, np.sqrt(periodic / (1 - periodic)), 1.0)
        for name, those in STAMPS.items():
            seen = np.clip(_numbers(alerts[f"stamp_class.{name}"]), 0.01, 0.99)
            weight = np.where(np.isfinite(seen), np.sqrt(seen * len(STAMPS)), 1.0)  # 1 where the cutouts tell nothing
            chances[:, [names.index(one) for one in those]] *= weight[:, None]
        return chances / np.maximum(chances.sum(axis=1, keepdims=True), 1e-30)

    def _reasons(self, row: dict[str, Any]) -> list[str]:
        """What each module said, in words."""
        said = []
        if row["solar_system.known"] is True or row["solar_system.known"] == 1:
            apart = row["solar_system.distance_arcsec"]
            said.append("solar_system: known object" + (f" at {apart:.1f} arcsec" if pd.notna(apart) else ""))
        if pd.notna(row["xmatch.catalog"]):
            said.append(f"xmatch: {row['xmatch.class'] or 'entry'} in {row['xmatch.catalog']} at {row['xmatch.distance_arcsec']:.1f} arcsec")
        chances = {name: row[f"transient.{key}"] for key, name in CLASSES.items() if pd.notna(row[f"transient.{key}"])}
        if chances:
            likely = sorted(chances, key=lambda name: -chances[name])[:2]
            said.append("transient: " + ", ".join(f"{name} {chances[name]:.2f}" for name in likely))
        if pd.notna(row["early_snia.probability"]) and row["early_snia.n_detections"] >= LEAST:
            said.append(f"early_snia: {row['early_snia.probability']:.2f}")
        if pd.notna(row["variable_star.class"]):
            said.append(f"variable_star: {row['variable_star.class']} {row['variable_star.probability']:.2f}")
        if pd.notna(row["stamp_class.class"]):
            said.append(f"stamp_class: {row['stamp_class.class'].replace('_', ' ')} {row['stamp_class.probability']:.2f}")
        return said


def catalogued(value: Any) -> str | None:
    """The class of a catalogue's type; None for one that is no class of ours."""
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    fits = [start for start in CATALOGUED if text == start or (text.startswith(start) and (len(start) > 1 or not text[len(start)].isalpha()))]
    return CATALOGUED[max(fits, key=len)] if fits else None


def _numbers(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column).to_numpy(float)
