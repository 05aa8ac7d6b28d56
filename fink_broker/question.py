"""What can be asked of a night's answers: the classes of the modules that come with the broker, and whom each of them means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fink_broker.errors import ConfigError
from fink_broker.settings import Settings
from fink_broker.skysim.kind import LABELS

EXTRAGALACTIC = ("SN Ia", "SN Ib/c", "SN II", "SLSN", "TDE", "kilonova")
STARS = {"RR Lyrae": "rr_lyrae", "Cepheid": "cepheid", "eclipsing binary": "eclipsing_binary", "long-period variable": "long_period_variable"}
GALACTIC: tuple[str, ...] = ("dwarf nova", "flare", "microlensing", "periodic variable", "other")
STAMPS = {"bogus": ("bogus",), "asteroid": ("asteroid",), "transient": EXTRAGALACTIC, "agn": ("AGN",), "variable_star": GALACTIC}


@dataclass(frozen=True)
class Question:
    """One answer that the chain gives of every alert: a class of a module, or a filter's topic; and whom it means (labels or kinds)."""

    of: str  # module, or "filter"
    name: str  # class or filter
    sql: str  # whether the alert is chosen
    aims: tuple[str, ...]  # none: nothing is called right or wrong
    asked: str = "true"  # whether the module was asked at all


def _classes(column: str, names: dict[str, tuple[str, ...]]) -> list[Question]:
    return [Question(column, name, f"{column}.class = '{name}'", aims, f"{column}.class is not null") for name, aims in names.items()]


def _summary(column: str) -> list[Question]:
    found = _classes(column, {name: (name,) for name in LABELS})
    own = ", ".join(f"'{name}'" for name in ("periodic variable", *STARS))
    periodic = Question(column, "periodic variable", f"{column}.class in ({own})", ("periodic variable",), f"{column}.class is not null")
    return [periodic if one.name == periodic.name else one for one in found] + _classes(column, {name: (kind,) for name, kind in STARS.items()})


# Of each module what it answers, in whatever column it does so.
MODULES: dict[str, Callable[[str], list[Question]]] = {
    "transient": lambda column: _classes(column, {name: (name,) for name in LABELS}),
    "summary": _summary,
    "variable_star": lambda column: _classes(column, {name: (kind,) for name, kind in STARS.items()}),
    "stamp_class": lambda column: _classes(column, STAMPS),
    "early_snia": lambda column: [Question(column, "SN Ia", f"{column}.probability >= 0.5", ("SN Ia",), f"{column}.probability is not null")],
    "solar_system": lambda column: [Question(column, "known or candidate", f"{column}.known or {column}.candidate", ("asteroid",))],
    "extragalactic": lambda column: [Question(column, "passes", f"{column}.passes", EXTRAGALACTIC)],
    "purity": lambda column: [Question(column, "passes", f"{column}.passes", tuple(name for name in LABELS if name != "bogus"))],
}
NOT_ASKED = {"xmatch": "simulated things are in no catalogue", "features": "it names no class", "magnitude_rate": "it names no class"}


def module_of(settings: Settings, column: str) -> str:
    """The module that runs under a name: itself, or the one that [science.params.NAME] names, as for two versions side by side."""
    return str(settings.science.params.get(column, {}).get("module", column))


def questions_of(settings: Settings, column: str) -> list[Question]:
    """What is asked of the module that runs under a name; ConfigError where there is nothing to ask."""
    module = module_of(settings, column)
    if module not in MODULES:
        reason = f": {NOT_ASKED[module]}" if module in NOT_ASKED else ""
        side = f"; for a second version beside it set [science.params.{column}] module" if module == column and not reason else ""
        raise ConfigError(f"of module '{column}' no class can be asked{reason}; there are {', '.join(sorted(MODULES))}{side}")
    return MODULES[module](column)
