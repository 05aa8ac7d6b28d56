"""What a science module is: its declaration, its parameters, and the check of what it returns."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import re
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_origin, get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from fink_broker.errors import BrokenContract, ConfigError
from fink_broker.survey import NEUTRAL, POINT

if TYPE_CHECKING:
    import pyarrow as pa

TYPES = ("boolean", "int", "bigint", "float", "double", "string", "array<double>", "array<string>")
_RENAMED = {"time": "mjd", "first_time": "first_mjd"}
COLUMNS = (  # of the alert row, that a module can read; and packet.… of its survey, and other modules' fields
    "survey", "schema", "night", "healpix", "quality", *(_RENAMED.get(name, name) for name in NEUTRAL),
    *(f"lightcurve.{_RENAMED.get(name, name)}" for name in POINT), *(f"origin.{name}" for name in ("topic", "partition", "offset", "timestamp")),
    *(f"cutout_{name}" for name in ("science", "template", "difference")),
)  # fmt: skip
_RESERVED = {*(name.split(".")[0] for name in COLUMNS), "packet", "neutral", "provenance", "topics", "history", "value", "reason", "content"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_INPUT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_DECLARED = {"name", "version", "inputs", "outputs", "where", "surveys", "model_files"}


class ScienceModule(ABC):
    """Adds one struct column, named after the module, to alerts.

    Further annotated class fields are parameters: typed, with a default, set under [science.params.NAME].
    """

    name: ClassVar[str]
    version: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # columns of the alert row, dotted into structs; history.…; or OTHER_MODULE.field
    outputs: ClassVar[dict[str, str]]  # field -> one of TYPES
    where: ClassVar[str] = "true"  # Spark SQL: only such alerts are given to `process`; computed in the JVM
    surveys: ClassVar[tuple[str, ...]] = ("*",)
    model_files: ClassVar[tuple[str, ...]] = ()  # beside the module's file; their hash is part of the provenance

    def __init_subclass__(cls) -> None:
        """Check the declaration when the class is made, so that a mistake shows at once."""
        super().__init_subclass__()
        if ABC not in cls.__bases__:  # a base class of several modules declares nothing itself
            _check_declaration(cls)

    def __init__(self, **params: Any) -> None:
        """Take parameters; ConfigError for an unknown name or a wrong type."""
        known = self.parameters()
        self._models = str(params.pop("models", "")) if self.model_files else ""
        for name, value in params.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known) or 'none'}"
                raise ConfigError(f"science module {self.name} has no parameter '{name}'; {hint}; see [science.params.{self.name}]")
            try:
                config = None if hasattr(known[name], "model_config") else ConfigDict(strict=False, arbitrary_types_allowed=True)
                setattr(self, name, TypeAdapter(known[name], config=config).validate_python(value))
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise ConfigError(f"[science.params.{self.name}] {name} is {value!r}: {reason}") from error

    @classmethod
    def parameters(cls) -> dict[str, Any]:
        """Name and type of each parameter."""
        hints = {name: kind for name, kind in get_type_hints(cls).items() if name not in _DECLARED and not name.startswith("_")}
        return {name: kind for name, kind in hints.items() if get_origin(kind) is not ClassVar and kind is not ClassVar}

    def setup(self) -> None:  # noqa: B027 (most modules have nothing to load)
        """Load models and catalogues; called once in each worker process, before the first `process`."""

    @abstractmethod
    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """The outputs of some alerts (any number, none included): same rows, same order, null where not computed.

        Columns are named as in `inputs`; one of arrays holds a numpy array a row, which other modules read too: do not
        change it. The result for an alert must not depend on the others.
        """

    def provenance(self) -> str:
        """VERSION+PARAMETERS[.MODEL]: hashes of the parameters and of the model files, the same on every machine."""
        return self.marked({name: getattr(self, name) for name in self.parameters()})

    def marked(self, values: dict[str, Any]) -> str:
        """The version with a hash of `values`, and one of the model files if there are any."""
        params = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
        return f"{self.version}+{params}" + (f".{self.model_hash()[:8]}" if self.model_files else "")

    def model_hash(self) -> str:
        """SHA-256 of the model files together, in the order of their declaration."""
        mark = hashlib.sha256()
        for file in self.model_paths():
            mark.update(file.read_bytes())
        return mark.hexdigest()

    def model_paths(self) -> list[Path]:
        """The model files: beside the module's file, or in the folder given as `models` under [science.params.NAME]."""
        return [(Path(self._models) if self._models else self.folder_of()) / file for file in self.model_files]

    @classmethod
    def folder_of(cls) -> Path:
        """Where the module's file lies."""
        return Path(inspect.getfile(cls)).parent


def _check_declaration(cls: type[ScienceModule]) -> None:
    """BrokenContract, with what to write instead, for a declaration that cannot work."""
    if missing := [field for field in ("name", "version", "inputs", "outputs") if not hasattr(cls, field)]:
        raise BrokenContract(f"science module {cls.__name__} declares no {', '.join(missing)}; see science_modules/_template.py")
    if not _NAME.fullmatch(cls.name):
        raise BrokenContract(f"science module {cls.__name__} is named '{cls.name}'; expected a-z, 0-9 and _, starting with a letter")
    if cls.name in _RESERVED:
        raise BrokenContract(f"science module {cls.__name__} is named '{cls.name}', as a column of every alert; choose another name")
    for field in ("inputs", "surveys", "model_files"):
        value: object = getattr(cls, field)
        if isinstance(value, str) or not all(isinstance(part, str) for part in value):  # type: ignore[attr-defined]
            raise BrokenContract(f"{cls.name}: {field} is {value!r}; expected a tuple of texts, one of them written ('{value}',)")
    for name in cls.inputs:
        if not _INPUT.fullmatch(name):
            raise BrokenContract(f"{cls.name}: input {name!r} is no column name; write it as lightcurve.mag")
    own = [name for name in (*cls.inputs, cls.where) if re.search(r"\bpacket\.", name)]
    if own and "*" in cls.surveys:
        raise BrokenContract(f'{cls.name} reads {own[0]}, which belongs to one survey; say which: surveys = ("ztf",)')
    if not cls.outputs:
        raise BrokenContract(f'{cls.name} declares no output; outputs = {{"value": "double"}}')
    for name, kind in cls.outputs.items():
        if kind not in TYPES or not _NAME.fullmatch(name) or name == "error":
            raise BrokenContract(f"{cls.name}: output {name} is {kind!r}; expected a name other than 'error' and one of {', '.join(TYPES)}")
    for name, kind in inspect.get_annotations(cls).items():
        if name not in _DECLARED and not name.startswith("_") and "ClassVar" not in str(kind) and not hasattr(cls, name):
            raise BrokenContract(f"{cls.name}: parameter {name} has no default; give it one")
        if hasattr(ScienceModule, name) and name not in _DECLARED:
            raise BrokenContract(f"{cls.name}: parameter {name} hides a method of every module; choose another name")
    written = list(inspect.signature(cls.process).parameters)
    if written != ["self", "alerts"]:
        raise BrokenContract(f"{cls.name}: process takes {written}; expected (self, alerts)")


def checked(module: ScienceModule, given: pd.DataFrame, result: pd.DataFrame) -> dict[str, pa.Array]:
    """The outputs as Arrow arrays of the declared types; BrokenContract for other columns, rows or types."""
    if not isinstance(result, pd.DataFrame):
        raise BrokenContract(f"{module.name} returned a {type(result).__name__}; expected a pandas DataFrame of its outputs")
    if list(result.columns) != list(module.outputs):
        if missing := [name for name in module.outputs if name not in result]:
            raise BrokenContract(f"{module.name} declared {', '.join(missing)} and did not return it")
        if extra := [name for name in result if name not in module.outputs]:
            raise BrokenContract(f"{module.name} returned {', '.join(map(str, extra))} and did not declare it")
    if len(result) != len(given):
        raise BrokenContract(f"{module.name} returned {len(result)} rows for {len(given)} alerts")
    if not result.index.equals(given.index):
        raise BrokenContract(f"{module.name} returned its rows with another index; keep the index of `alerts`")
    return {name: _typed(module.name, name, kind, result[name]) for name, kind in module.outputs.items()}


@lru_cache(maxsize=64)
def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a declared output."""
    import pyarrow as pa

    plain = {"boolean": pa.bool_(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(), "string": pa.string()}
    return pa.list_(plain[kind[6:-1]]) if kind.startswith("array<") else plain[kind]


def _typed(module: str, name: str, kind: str, values: pd.Series) -> pa.Array:
    """Values as the declared type, NaN as null; BrokenContract when they are something else."""
    import pyarrow as pa

    try:
        found = pa.array(values, type=arrow_type(kind), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        if values.isna().all():
            return pa.nulls(len(values), arrow_type(kind))
        raise BrokenContract(f"{module}: {name} is not {kind}: {error}; return what is declared, null where not computed") from error
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def flat(*columns: pd.Series) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """Ragged columns (one array a row) as flat arrays, with the row of each point: numpy instead of loops.

    The columns must be of one struct: as many points in each of them, row by row.
    """
    lengths = _lengths(columns[0])
    if any(not np.array_equal(lengths, _lengths(column)) for column in columns[1:]):
        raise BrokenContract(f"{', '.join(str(column.name) for column in columns)} have different numbers of points; flatten those of one struct")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    kinds = [next((np.asarray(v).dtype for v in column if v is not None and len(v)), np.dtype(float)) for column in columns]
    parts = [
        np.concatenate([np.asarray(value) for value in column if value is not None and len(value)]) if len(rows) else np.array([], kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return rows, parts


def _lengths(column: pd.Series) -> NDArray[np.int64]:
    return np.array([0 if value is None else len(value) for value in column], np.int64)
