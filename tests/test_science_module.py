"""Declarations of science modules: every mistake is named when the class is made."""

import numpy as np
import pandas as pd
import pytest

from fink_broker.errors import BrokenContract, ConfigError
from fink_broker.science import ScienceModule, flat

GOOD = {"name": "made", "version": "1", "inputs": ("mag",), "outputs": {"value": "double"}}


def process(self: ScienceModule, alerts: pd.DataFrame) -> pd.DataFrame:
    return alerts


def declare(**fields: object) -> type[ScienceModule]:
    body = {"process": process, "__doc__": "Made for a test.", **GOOD, **fields}
    return type("Made", (ScienceModule,), {key: value for key, value in body.items() if value is not None})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": None, "outputs": None}, "science module Made declares no version, outputs; see science_modules/_template.py"),
        ({"name": "Made up"}, "is named 'Made up'; expected a-z, 0-9 and _, starting with a letter"),
        ({"name": "lightcurve"}, "is named 'lightcurve', as a column of every alert; choose another name"),
        ({"inputs": "mag"}, r"made: inputs is 'mag'; expected a tuple of texts, one of them written \('mag',\)"),
        ({"surveys": "ztf"}, r"made: surveys is 'ztf'; expected a tuple of texts"),
        ({"inputs": ("light curve",)}, "made: input 'light curve' is no column name; write it as lightcurve.mag"),
        ({"inputs": ("packet.candidate.rb",)}, r'made reads packet.candidate.rb, which belongs to one survey; say which: surveys = \("ztf",\)'),
        ({"where": "packet.candidate.rb > 0.5"}, "made reads packet.candidate.rb > 0.5, which belongs to one survey"),
        ({"outputs": {}}, "made declares no output"),
        ({"outputs": {"value": "number"}}, "output value is 'number'; expected a name other than 'error' and one of boolean, int"),
        ({"outputs": {"error": "string"}}, "output error is 'string'; expected a name other than 'error'"),
        ({"__annotations__": {"radius_arcsec": float}}, "made: parameter radius_arcsec has no default; give it one"),
        ({"__annotations__": {"setup": float}, "setup": 1.0}, "made: parameter setup hides a method of every module; choose another name"),
        ({"process": lambda self, rows: rows}, r"made: process takes \['self', 'rows'\]; expected \(self, alerts\)"),
    ],
)
def test_mistakes(fields: dict[str, object], message: str) -> None:
    with pytest.raises(BrokenContract, match=message):
        declare(**fields)


def test_a_base_class_of_modules_declares_nothing_itself() -> None:
    from abc import ABC

    class Base(ScienceModule, ABC):
        """Shared by modules."""

        radius_arcsec: float = 1.0

    class Made(Base):
        """One of them."""

        name, version, inputs, outputs = "made", "1", ("mag",), {"value": "double"}
        factor: int = 2

        def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
            return alerts

    assert set(Made.parameters()) == {"factor", "radius_arcsec"}
    assert Made(radius_arcsec=3).radius_arcsec == 3.0
    assert Made.radius_arcsec == 1.0


def test_parameters_are_typed() -> None:
    kind = declare(__annotations__={"radius_arcsec": float, "names": list[str]}, radius_arcsec=1.5, names=[])
    assert kind(radius_arcsec="2").radius_arcsec == 2.0  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"\[science.params.made\] radius_arcsec is 'wide': Input should be a valid number"):
        kind(radius_arcsec="wide")
    with pytest.raises(ConfigError, match=r"\[science.params.made\] names is 'one': Input should be a valid list"):
        kind(names="one")
    with pytest.raises(ConfigError, match="science module made has no parameter 'radius'; did you mean 'radius_arcsec'?"):
        kind(radius=1)


def test_flat_columns() -> None:
    mag = pd.Series([np.array([1.0, 2.0]), np.array([]), None, np.array([3.0])])
    band = pd.Series([np.array(["g", "r"], object), np.array([], object), None, np.array(["i"], object)])
    rows, (mags, bands) = flat(mag, band)
    assert rows.tolist() == [0, 0, 3]
    assert (mags.tolist(), bands.tolist()) == ([1.0, 2.0, 3.0], ["g", "r", "i"])
    rows, (mags,) = flat(mag[:0])
    assert (len(rows), len(mags)) == (0, 0)
    with pytest.raises(BrokenContract, match="have different numbers of points; flatten those of one struct"):
        flat(mag, mag.map(lambda value: value if value is None else value[:1]))
