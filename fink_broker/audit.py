"""Compares what the stores hold of a night, alert by alert."""

from __future__ import annotations

from fink_broker.history import History
from fink_broker.lake import Lake
from fink_broker.settings import Settings


def audit(settings: Settings, survey: str, night: int) -> dict[str, list[str]]:
    """Alert ids of a night that one store lacks or holds twice; nothing where all agree.

    What differs is read once more: beside running jobs, alerts come between the reading of one store and of the next.
    """
    found = _differing(settings, survey, night)
    again = _differing(settings, survey, night) if found else {}
    return {what: sorted(ids) for what in found if (ids := found[what] & again.get(what, set()))}


def _differing(settings: Settings, survey: str, night: int) -> dict[str, set[str]]:
    lake = Lake(settings)
    tables = {name: [str(value) for value in lake.scan(name, survey, ["alert_id"], night).column("alert_id").to_pylist()] for name in ("raw", "science")}
    raw, science = set(tables["raw"]), set(tables["science"])
    held = History(settings).holds(survey, sorted(raw | science))
    found = {
        "in raw, not in science": raw - science,
        "in science, not in raw": science - raw,
        "in the lake, not in HBase": (raw | science) - held,
        **{f"twice in {name}": {one for one in ids if ids.count(one) > 1} if len(ids) != len(set(ids)) else set() for name, ids in tables.items()},
    }
    return {what: ids for what, ids in found.items() if ids}
