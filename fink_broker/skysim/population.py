"""All kinds of things on the changing sky, and how many of each there are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fink_broker.errors import ConfigError
from fink_broker.skysim.artefacts import ARTEFACTS
from fink_broker.skysim.asteroids import ASTEROIDS
from fink_broker.skysim.cosmos import events_per_year, modulus
from fink_broker.skysim.hot_transients import HOT_TRANSIENTS
from fink_broker.skysim.kind import LABELS, Kind
from fink_broker.skysim.nuclei import NUCLEI
from fink_broker.skysim.observatory import Observatory
from fink_broker.skysim.stars import STARS
from fink_broker.skysim.supernovae import ABSOLUTE_IA, CORE_COLLAPSE, SUPERNOVAE
from fink_broker.skysim.variables import VARIABLES

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*SUPERNOVAE, *HOT_TRANSIENTS, *STARS, *NUCLEI, *VARIABLES, *ASTEROIDS, *ARTEFACTS)}
# Absolute magnitude at maximum that sets how far a kind is seen, and its scatter, where it follows from a rate.
STANDARD = {"sn_ia": (ABSOLUTE_IA, 0.4), "slsn": (-21.2, 0.7), "tde": (-18.0, 1.2), "kilonova": (-15.8, 0.9)}
STANDARD |= {name: values[1:3] for name, values in CORE_COLLAPSE.items()}
SEASON = 0.45  # share of the time in which a place is watched


def per_year(kind: Kind, site: Observatory) -> float:
    """Things of a kind that give alerts in a year: stated, or from its rate, brightness and the survey's depth and footprint."""
    if kind.per_year:
        return kind.per_year[site.name]
    middle, scatter = STANDARD[kind.name]
    low, high = np.sin(np.radians(site.dec_range))
    share = (high - low) / 2 * 0.8 * SEASON  # less what hides behind the Milky Way
    found, grid = 0.0, np.linspace(0.001, 2.0, 2000)
    for offset in (-1.5, -0.75, 0.0, 0.75, 1.5):
        weight = float(np.exp(-(offset**2) / 2)) / 2.76
        deepest = float(np.interp(site.limit() - 0.5, middle + offset * scatter + modulus(grid), grid))
        found += weight * share * events_per_year(kind.rate, 1e-4, deepest, 1.0)
    return found


def shares(mix: str | Mapping[str, float], site: Observatory) -> dict[str, float]:
    """Share of each kind: `natural` (as the sky is), `even` (each label as often as any other), or weights by kind or label."""
    if mix == "natural":
        found = {name: per_year(kind, site) for name, kind in KINDS.items()}
    elif mix == "even":
        found = _by_label(dict.fromkeys(LABELS, 1.0), site)
    elif isinstance(mix, str):
        raise ConfigError(f"mix is '{mix}'; expected natural, even, or weights by kind ({', '.join(KINDS)}) or label ({', '.join(LABELS)})")
    else:
        if unknown := set(mix) - set(KINDS) - set(LABELS):
            raise ConfigError(f"unknown kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}; labels: {', '.join(LABELS)}")
        found = {name: float(weight) for name, weight in mix.items() if name in KINDS}
        for name, weight in _by_label({name: float(weight) for name, weight in mix.items() if name in LABELS}, site).items():
            found[name] = found.get(name, 0.0) + weight
    total = sum(found.values())
    if not total > 0:
        raise ConfigError("the mix of kinds is empty; give at least one a weight above 0")
    return {name: weight / total for name, weight in found.items() if weight > 0}


def mix_of(text: str) -> str | dict[str, float]:
    """A mix as one writes it on a command line: its name, or weights by kind or label."""
    if "=" not in text:
        return text
    try:
        return {name.strip(): float(weight) for name, weight in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise ConfigError(f"mix is '{text}'; expected natural, even, or weights such as 'SN Ia=1,agn=2'") from error


def _by_label(weights: dict[str, float], site: Observatory) -> dict[str, float]:
    """A label's weight on its kinds, by the square root of their numbers: rare kinds are seen, common ones still more."""
    found: dict[str, float] = {}
    for label, weight in weights.items():
        own = {name: per_year(kind, site) ** 0.5 for name, kind in KINDS.items() if kind.label == label}
        found |= {name: weight * number / sum(own.values()) for name, number in own.items()}
    return found
