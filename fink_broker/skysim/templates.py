"""Spectral time series of supernovae seen through a survey's bands: from sncosmo where it and its data are there, else built-in shapes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fink_broker.errors import ConfigError
from fink_broker.skysim.cosmos import Floats, Ints
from fink_broker.skysim.observatory import LSST, ZTF, Observatory
from fink_broker.skysim.thermal import planck_shape

PHASES = np.arange(-50.0, 131.0, 1.0)  # rest frame [d]
WAVES = np.arange(1700.0, 11000.0, 20.0)  # rest frame [Angstrom]
BLUE, RED = (4000.0, 4800.0), (5700.0, 7300.0)  # boxes in which brightnesses at maximum are stated: about B and R
COLOURS = np.arange(-0.3, 0.55, 0.05)  # SALT c
# Template time series of Vincenzi et al. 2019 (MNRAS 489, 5802), corrected for host dust or not there; by type.
SERIES = {
    "sn_ib": ("v19-2004gv", "v19-2007y", "v19-2005bf"), "sn_ic": ("v19-2004fe", "v19-2013ge"), "sn_ic_bl": ("v19-1998bw", "v19-2009bb"),
    "sn_iib": ("v19-2011ei", "v19-2008fq"), "sn_ii": ("v19-2009n", "v19-2013fs", "v19-2009kr"), "sn_iin": ("v19-2010al", "v19-2009ip"),
}  # fmt: skip
# Built-in shapes: rise [d], first decline [d], plateau [d], tail [mag/d], and temperature [K] at maximum and late.
SHAPES = {
    "sn_ia": (18.0, 14.0, 0.0, 0.016, 11500.0, 5200.0), "sn_ib": (17.0, 16.0, 0.0, 0.018, 7500.0, 4600.0), "sn_ic": (15.0, 15.0, 0.0, 0.020, 7200.0, 4500.0),
    "sn_ic_bl": (14.0, 14.0, 0.0, 0.020, 7800.0, 4500.0), "sn_iib": (19.0, 17.0, 0.0, 0.018, 7800.0, 4700.0),
    "sn_ii": (8.0, 40.0, 75.0, 0.010, 12000.0, 4800.0), "sn_iin": (20.0, 50.0, 20.0, 0.008, 13000.0, 6500.0),
}  # fmt: skip
ULTRAVIOLET = {"sn_ia": 3900.0, "sn_ii": 3300.0, "sn_iin": 2500.0}  # below it lines of metals take the light [Angstrom]


@dataclass(frozen=True)
class Templates:
    """Brightness of template series through a survey's bands, relative to the maximum in the reference box.

    Tables by (template, redshift step, band, phase); those of SALT by (colour, redshift step, part, band, phase).
    """

    origin: str  # sncosmo or built-in
    step: float  # in redshift
    names: dict[str, tuple[str, ...]]
    tables: dict[str, Floats]

    def series(self, kind: str, which: Ints, z: Floats, who: Ints, days: Floats, band: Ints) -> Floats:
        """L_nu / maximum of L_nu in the reference box, for points of things (template, redshift) at observer's days from maximum."""
        table = self.tables[kind]
        place = np.clip(np.rint(z / self.step).astype(np.int64), 0, table.shape[1] - 1)
        return _at(table, which[who], place[who], band, days / (1 + z[who]))

    def salt(self, z: Floats, x1: Floats, c: Floats, who: Ints, days: Floats, band: Ints) -> Floats:
        """The same of SALT3: M0 + x1 M1 behind the colour law."""
        table = self.tables["salt"]
        place = np.clip(np.rint(z / self.step).astype(np.int64), 0, table.shape[1] - 1)
        colour = np.clip(np.rint((c - COLOURS[0]) / (COLOURS[1] - COLOURS[0])).astype(np.int64), 0, len(COLOURS) - 1)
        phase = days / (1 + z[who])
        parts = table.reshape(table.shape[0], table.shape[1], -1, len(PHASES))
        bands = table.shape[3]
        base = _at(parts, colour[who], place[who], band, phase)
        found: Floats = np.maximum(base + x1[who] * _at(parts, colour[who], place[who], band + bands, phase), 0.0)
        return found


def _at(table: Floats, one: Ints, two: Ints, three: Ints, phase: Floats) -> Floats:
    """Linear between phases; dark before the first and after the last."""
    place = phase - PHASES[0]
    inside = (place >= 0) & (place < len(PHASES) - 1)
    low = np.where(inside, place, 0).astype(np.int64)
    flat = table.reshape(-1)
    at = ((one * table.shape[1] + two) * table.shape[2] + three) * table.shape[3] + low
    share = place - low
    found: Floats = np.where(inside, flat[at] * (1 - share) + flat[at + 1] * share, 0.0)
    return found


def has_sncosmo() -> bool:
    """Whether sncosmo and all data that the simulated sky takes from it are on this machine (nothing is downloaded to find out)."""
    if find_spec("sncosmo") is None:
        return False
    there = {file.stem.split("_")[1].lower() for file in (data_folder() / "models" / "vincenzi").glob("V19_*_noHostExtCorr.SED")}
    wanted = {f"sn{name.removeprefix('v19-')}" for names in SERIES.values() for name in names}
    bands = all(len(list((data_folder() / "bandpasses" / site.name).glob("*.*"))) >= len(site.bands) for site in (ZTF, LSST))
    return bands and wanted <= there and any((data_folder() / "models" / "salt3").glob("*/*"))


def resolved(origin: str) -> str:
    """Where spectra come from on this machine if it is left to it: a name that means the same on another."""
    return origin if origin != "auto" else "sncosmo" if has_sncosmo() else "built-in"


def lacking() -> str:
    """Why supernovae have built-in shapes on this machine, and what to do; empty where they have sncosmo's spectra."""
    if has_sncosmo():
        return ""
    if find_spec("sncosmo") is None:
        return "supernovae have built-in shapes: sncosmo is not installed; pip install 'fink-broker[sky]', then give --models sncosmo, which downloads its data"
    return f"supernovae have built-in shapes: data of sncosmo are not in {data_folder()}; give --models sncosmo, which downloads what is missing"


def data_folder() -> Path:
    """Where sncosmo keeps its data."""
    if folder := os.environ.get("SNCOSMO_DATA_DIR"):
        return Path(folder)
    from astropy.config import get_cache_dir

    return Path(get_cache_dir()) / "sncosmo"


@lru_cache(maxsize=4)
def templates(site: Observatory, origin: str = "auto") -> Templates:
    """Tables of a survey; `origin` is sncosmo (which downloads what is missing), built-in, or auto: sncosmo if all is there."""
    if origin == "auto":
        origin = "sncosmo" if has_sncosmo() else "built-in"
    if origin not in ("sncosmo", "built-in"):
        raise ConfigError(f"templates are '{origin}'; expected sncosmo, built-in or auto")
    step = site.deepest_redshift / 64
    redshifts: Floats = np.arange(65, dtype=float) * step
    if origin == "built-in":
        passes = _passes(site, redshifts, None)
        tables = {kind: _table([_built_in(kind)], passes, BLUE if kind == "sn_ia" else RED) for kind in SHAPES}
        return Templates(origin, step, {kind: (f"{kind} (built-in)",) for kind in SHAPES}, tables)
    try:
        import sncosmo
    except ImportError as error:
        raise ConfigError("templates of sncosmo were asked for, but it is not installed; pip install sncosmo, or choose built-in") from error
    for one in (ZTF, LSST):  # so that what is downloaded once is there for every survey
        for band in one.sncosmo_bands:
            sncosmo.get_bandpass(band)
    passes = _passes(site, redshifts, sncosmo)
    tables = {kind: _table([_sed(sncosmo.get_source(name)) for name in names], passes, RED) for kind, names in SERIES.items()}
    tables["salt"] = _salt(sncosmo.get_source("salt3"), passes)
    return Templates(origin, step, dict(SERIES) | {"sn_ia": ("salt3",)}, tables)


def _passes(site: Observatory, redshifts: Floats, sncosmo: Any) -> Floats:
    """Weights of rest-frame L_nu on WAVES for the photon-counting mean of each band: (redshift, band, wave)."""
    found = np.zeros((len(redshifts), len(site.bands), len(WAVES)))
    for place, name in enumerate(site.sncosmo_bands):
        band = sncosmo.get_bandpass(name) if sncosmo else None
        middle, half = site.wavelength[place], site.width[place] / 2
        for row, z in enumerate(redshifts):
            seen = WAVES * (1 + z)
            weight = band(seen) if band else (np.abs(seen - middle) < half).astype(float)
            weight = weight / seen
            found[row, place] = weight / max(weight.sum(), 1e-30)
            if weight.sum() <= 0:
                found[row, place, 0 if middle / (1 + z) < WAVES[0] else -1] = 1.0
    return found


def _inside(box: tuple[float, float]) -> NDArray[np.bool_]:
    return np.logical_and(np.greater_equal(WAVES, box[0]), np.less(WAVES, box[1]))


def _sed(source: Any) -> Floats:
    """L_nu (any scale) of a sncosmo source on PHASES and WAVES; dark outside its phases, level outside its waves."""
    inside = (source.minphase() <= PHASES) & (source.maxphase() >= PHASES)
    waves = np.clip(WAVES, source.minwave(), source.maxwave())
    found = np.zeros((len(PHASES), len(WAVES)))
    found[inside] = np.maximum(source.flux(PHASES[inside], waves), 0.0) * waves**2
    last = np.flatnonzero(inside)[-1]
    late = np.arange(last + 1, len(PHASES))  # goes on fading as cobalt does, 0.0098 mag a day and a little faster
    found[late] = found[last] * 10 ** (-0.4 * 0.012 * (PHASES[late] - PHASES[last]))[:, None]
    first = np.flatnonzero(inside)[0]
    early = np.arange(max(first - 6, 0), first)  # and rises from nothing before its first spectrum
    found[early] = found[first] * (((np.arange(len(early)) + 1) / (len(early) + 1)) ** 2)[:, None]
    return found


def _table(seds: list[Floats], passes: Floats, box: tuple[float, float]) -> Floats:
    """(template, redshift, band, phase), each template's phases counted from, and scaled to, its maximum in the box."""
    found = []
    for sed in seds:
        reference = sed[:, _inside(box)].mean(axis=1)
        top = int(np.argmax(reference))
        moved = np.stack([np.interp(PHASES + PHASES[top], PHASES, column, 0.0, 0.0) for column in sed.T], axis=1)
        found.append(np.einsum("zbw,pw->zbp", passes, moved / reference[top], optimize=True))
    table: Floats = np.stack(found)
    return table


def _salt(source: Any, passes: Floats) -> Floats:
    """(colour, redshift, part, band, phase) of SALT3 (Kenworthy et al. 2021, ApJ 923, 265; F22: Taylor et al. 2023)."""
    inside = (source.minphase() <= PHASES) & (source.maxphase() >= PHASES)
    waves = np.clip(WAVES, source.minwave(), source.maxwave())
    parts = []
    for name in ("M0", "M1"):
        sed = np.zeros((len(PHASES), len(WAVES)))
        sed[inside] = source._model[name](PHASES[inside], waves) * waves**2
        last = np.flatnonzero(inside)[-1]
        late = np.arange(last + 1, len(PHASES))
        sed[late] = sed[last] * 10 ** (-0.4 * 0.015 * (PHASES[late] - PHASES[last]))[:, None]
        parts.append(sed)
    zero = np.flatnonzero(PHASES == 0)[0]
    scale = parts[0][zero, _inside(BLUE)].mean()
    law = source.colorlaw(waves)
    found = []
    for colour in COLOURS:
        dimmed = passes * 10 ** (-0.4 * colour * law)
        found.append(np.stack([np.einsum("zbw,pw->zbp", dimmed, part / scale, optimize=True) for part in parts], axis=1))
    table: Floats = np.stack(found)
    return table


def _built_in(kind: str) -> Floats:
    """A cooling black body whose light rises, declines, may stay level, and ends in a tail."""
    rise, decline, plateau, tail, hot, cool = SHAPES[kind]
    before, after = np.minimum(PHASES, 0), np.maximum(PHASES, 0)
    up = np.where(before > -rise, 1 - (before / rise) ** 2, 0.0)
    magnitudes = np.where(plateau > after, 0.4 * after / max(plateau, 1), 0.4 + 1.6 * (1 - np.exp(-(after - plateau) / 8))) if plateau else 0
    magnitudes = magnitudes if plateau else 1.0857 * after / decline * np.exp(-after / 45) + tail * after
    temperature = cool + (hot - cool) * np.exp(-np.maximum(PHASES + rise, 0) / (rise + decline))
    shape = planck_shape(WAVES[None, :], temperature[:, None])
    edge = ULTRAVIOLET.get(kind, 3600.0)
    shape = shape / (1 + np.exp(-(WAVES - edge) / 250.0))[None, :]
    found: Floats = shape / shape[:, _inside(RED)].mean(axis=1)[:, None] * (up * 10 ** (-0.4 * magnitudes))[:, None]
    return found
