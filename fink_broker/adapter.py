"""Existing Fink processors as science modules: a pandas function over `c…` columns (history and alert together), unchanged."""

from __future__ import annotations

import importlib
from abc import ABC
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fink_broker.errors import BrokenContract
from fink_broker.science_module import ScienceModule

# Where the names of Fink's columns lie in a survey's packet: (history, alert, names of the packet's top level).
PLACES = {
    "ztf": ("packet.prv_candidates", "packet.candidate", ("objectId", "candid", "schemavsn", "publisher")),
    "lsst": ("packet.prvDiaSources", "packet.diaSource", ()),
    "elasticc": ("packet.prvDiaSources", "packet.diaSource", ()),
}
OURS = {"cdsxmatch": "xmatch.class"}  # columns that Fink computes, and what stands for them here
NO_HISTORY = ("candid", "classtar", "clrcoeff", "clrcounc", "clrmed", "clrrms", "chipsf", "chinr")  # begin with c, and are of the alert


class FinkProcessor(ScienceModule, ABC):
    """A processor of fink-science; a subclass says which, and under what names its results go.

        class Asteroids(FinkProcessor):
            name, version, surveys = "roid", "1.0", ("ztf",)
            function = "fink_science.ztf.asteroids.processor:roid_catcher"
            arguments = ("cjd", "cmagpsf", "ndethist", "sgscore1", "ssdistnr", "distpsnr1")
            outputs = {"flag": "int"}

    `arguments` are Fink's names in the function's order; `constants` follow them, each as a column of that value. Values in
    `missing`, which the processor writes for "not computed", become null. Several outputs are keys of a map or struct.
    """

    function: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    constants: ClassVar[dict[str, Any]] = {}
    missing: ClassVar[tuple[Any, ...]] = (-1, -1.0, "Unknown", "Fail")

    def __init_subclass__(cls) -> None:
        """Derive the inputs from the arguments, then check the declaration."""
        lacking = [field for field in ("function", "arguments", "surveys") if not hasattr(cls, field)]
        if lacking or len(cls.surveys) != 1 or cls.surveys[0] not in PLACES:
            raise BrokenContract(f'Fink processor {cls.__name__} needs function, arguments, and one survey of {", ".join(PLACES)}, as ("ztf",)')
        cls.inputs = tuple(dict.fromkeys(column for name in cls.arguments for column in _columns(name, cls.surveys[0])))
        super().__init_subclass__()

    def setup(self) -> None:
        """Import the processor; the function inside, if it is a Spark UDF."""
        module, _, name = self.function.partition(":")
        found = getattr(importlib.import_module(module), name)
        self._call = getattr(found, "func", found)

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """Join history and alert as Fink does, call the processor, and name its results."""
        if not len(alerts):
            return pd.DataFrame({name: pd.Series([], dtype=object) for name in self.outputs}, index=alerts.index)
        given = [_joined(alerts, _columns(name, self.surveys[0]), name) for name in self.arguments]
        given += [pd.Series([value] * len(alerts), index=alerts.index, name=name) for name, value in self.constants.items()]
        result = self._call(*given)
        if len(self.outputs) == 1:
            frame = pd.DataFrame({next(iter(self.outputs)): list(result)}, index=alerts.index)
        else:
            frame = result if isinstance(result, pd.DataFrame) else pd.DataFrame([value or {} for value in result], index=alerts.index)
            if len(frame.columns) and not set(self.outputs) & set(frame.columns):
                raise BrokenContract(f"{self.name}: {self.function} gives {', '.join(map(str, frame))}, and not {', '.join(self.outputs)}")
            frame = frame.reindex(columns=list(self.outputs))  # an alert need not have every key
        return pd.DataFrame({name: frame[name].map(self._or_null) for name in self.outputs}, index=alerts.index).astype(object)

    def _or_null(self, value: Any) -> Any:
        return None if not isinstance(value, (list, np.ndarray)) and value in self.missing else value


def _columns(name: str, survey: str) -> tuple[str, ...]:
    """Columns of the alert row that make up one of Fink's: of the history and the alert, or of the alert alone."""
    history, alert, top = PLACES[survey]
    if name in OURS:
        return (OURS[name],)
    if name in top:
        return (f"packet.{name}",)
    if name.startswith("c") and name not in NO_HISTORY:
        return f"{history}.{name[1:]}", f"{alert}.{name[1:]}"
    return (f"{alert}.{name}",)


def _joined(alerts: pd.DataFrame, columns: tuple[str, ...], name: str) -> pd.Series:
    """Fink's column: the points before the alert, then the alert's own."""
    if len(columns) == 1:
        return alerts[columns[0]].rename(name)
    points = [np.append(before if before is not None else [], now) for before, now in zip(alerts[columns[0]], alerts[columns[1]], strict=True)]
    return pd.Series(points, index=alerts.index, dtype=object, name=name)
