"""Science modules: what one is, how they are found, and how several run one after the other on a batch of alerts."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from fink_broker import __version__
from fink_broker.errors import BrokenContract, ConfigError, ModuleError, UnknownModule

GROUP = "fink.science_modules"
TYPES = ("boolean", "int", "bigint", "float", "double", "string", "array<double>", "array<string>")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DECLARED = {"name", "version", "inputs", "outputs", "where", "surveys", "model_files"}


class ScienceModule(ABC):
    """Adds one struct column, named after the module, to alerts.

    Further annotated class fields are parameters: typed, with a default, set under [science.params.NAME].
    """

    name: ClassVar[str]
    version: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # columns of the alert row, dotted into structs; or OTHER_MODULE.field
    outputs: ClassVar[dict[str, str]]  # field -> one of TYPES
    where: ClassVar[str] = "true"  # Spark SQL: only such alerts are given to `process`; computed in the JVM
    surveys: ClassVar[tuple[str, ...]] = ("*",)
    model_files: ClassVar[tuple[str, ...]] = ()  # beside the module's file; their hash is part of the provenance

    def __init_subclass__(cls) -> None:
        """Check the declaration when the class is made, so that a mistake shows at once."""
        super().__init_subclass__()
        missing = [field for field in ("name", "version", "inputs", "outputs") if not hasattr(cls, field)]
        if missing:
            raise BrokenContract(f"science module {cls.__name__} declares no {', '.join(missing)}; see science_modules/_template.py")
        if not _NAME.fullmatch(cls.name):
            raise BrokenContract(f"science module {cls.__name__} is named '{cls.name}'; expected a-z, 0-9 and _, starting with a letter")
        for field, kind in cls.outputs.items():
            if kind not in TYPES or not _NAME.fullmatch(field) or field == "error":
                raise BrokenContract(f"{cls.name}: output {field} is {kind!r}; expected a name other than 'error' and one of {', '.join(TYPES)}")
        written = list(inspect.signature(cls.process).parameters)
        if written != ["self", "alerts"]:
            raise BrokenContract(f"{cls.name}: process takes {written}; expected (self, alerts)")

    def __init__(self, **params: Any) -> None:
        """Take parameters; ConfigError for an unknown name or a wrong type."""
        known = self.parameters()
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
        hints: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, ScienceModule) and base is not ScienceModule:
                hints |= {name: kind for name, kind in get_type_hints(base).items() if name not in _DECLARED and not name.startswith("_")}
        return {name: kind for name, kind in hints.items() if hasattr(cls, name)}

    def setup(self) -> None:  # noqa: B027 (most modules have nothing to load)
        """Load models and catalogues; called once in each worker process, before the first `process`."""

    @abstractmethod
    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """The outputs of some alerts (any number, none included): same rows, same order, null where not computed.

        Columns are named as in `inputs`; one of arrays holds a numpy array a row. The result for an alert must
        not depend on the others.
        """

    def provenance(self) -> str:
        """Version, and a hash of the parameters and of the model files."""
        values = {name: getattr(self, name) for name in self.parameters()}
        mark = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
        folder = Path(inspect.getfile(type(self))).parent
        for file in self.model_files:
            mark.update((folder / file).read_bytes())
        return f"{self.version}+{mark.hexdigest()[:8]}"


class Registry:
    """All science modules that are installed: files of a folder, and packages by their entry point."""

    def __init__(self, modules: Mapping[str, tuple[type[ScienceModule], str]]) -> None:
        self._modules = dict(modules)

    @staticmethod
    def load(folder: Path) -> Registry:
        """Modules under `folder` (NAME.py or NAME/__init__.py) and of entry-point group fink.science_modules."""
        found: dict[str, tuple[type[ScienceModule], str]] = {}
        for origin, module in [*_from_folder(folder), *_from_packages()]:
            if module.name in found and found[module.name][0] is not module:
                raise ModuleError(f"two science modules are named '{module.name}': {found[module.name][1]} and {origin}; rename one of them")
            found[module.name] = (module, origin)
        return Registry(found)

    def __iter__(self) -> Iterator[str]:
        """Names, sorted."""
        return iter(sorted(self._modules))

    def get(self, name: str) -> type[ScienceModule]:
        """The class of a module; UnknownModule naming the nearest."""
        if name not in self._modules:
            near = difflib.get_close_matches(name, self._modules, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"installed: {', '.join(sorted(self._modules)) or 'none'}"
            raise UnknownModule(f"no science module named '{name}'; {hint}; `fink module list` shows all")
        return self._modules[name][0]

    def origin(self, name: str) -> str:
        """File or package that a module comes from."""
        self.get(name)
        return self._modules[name][1]


def _from_folder(folder: Path) -> list[tuple[str, type[ScienceModule]]]:
    files = [*folder.glob("[!_]*.py"), *folder.glob("[!_]*/__init__.py")]
    return [(str(file), module) for file in sorted(files) for module in _classes(file)]


def _from_packages() -> list[tuple[str, type[ScienceModule]]]:
    found = []
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "a package"
        try:
            found.append((f"package {package} ({point.value})", point.load()))
        except Exception as error:
            raise ModuleError(f"science module {point.name} of package {package} cannot be imported: {error}; mend or uninstall it") from error
    return found


@lru_cache(maxsize=256)
def _classes(file: Path) -> tuple[type[ScienceModule], ...]:
    """Science modules defined in a file, which is imported once a process."""
    name = f"fink_science_modules.{file.parent.name if file.name == '__init__.py' else file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return ()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleError:
        raise
    except Exception as error:
        raise ModuleError(f"science module {file.name} cannot be imported: {type(error).__name__}: {error}; mend it ({file})") from error
    kinds = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, ScienceModule)]
    return tuple(kind for kind in kinds if kind.__module__ == name)


class Chain:
    """The enabled modules of a survey in their order, run on batches of alerts; cheap to send to workers."""

    def __init__(
        self, registry: Registry, names: Sequence[str], params: Mapping[str, Mapping[str, Any]], survey: str,
        budget_seconds: float = 30.0, on_failure: str = "null",
    ) -> None:  # fmt: skip
        for name in params:
            registry.get(name)
        kinds = [registry.get(name) for name in dict.fromkeys(names)]
        kinds = [kind for kind in kinds if "*" in kind.surveys or survey in kind.surveys]
        self.budget_seconds, self.on_failure = budget_seconds, on_failure
        self._made = [(_address(kind), dict(params.get(kind.name, {}))) for kind in _ordered(kinds)]
        made = [kind(**dict(params.get(kind.name, {}))) for kind in _ordered(kinds)]
        self.names = tuple(module.name for module in made)
        self.conditions = {module.name: module.where for module in made}
        self.columns = tuple(dict.fromkeys(c for module in made for c in module.inputs if c.split(".")[0] not in self.names))
        self.fields = [(module.name, field, kind) for module in made for field, kind in [*module.outputs.items(), ("error", "string")]]
        self.provenance = {"broker": __version__, **{module.name: module.provenance() for module in made}}

    def run(self, inputs: pd.DataFrame, selected: pd.DataFrame) -> pd.DataFrame:
        """Outputs of every module as columns MODULE.field; `selected` says which alerts each module is given."""
        out: dict[str, Any] = {}
        for module in _instances(json.dumps(self._made, default=str)):
            rows = selected[module.name].to_numpy(bool)
            columns = {name: inputs[name] if name in inputs else pd.Series(out[name], index=inputs.index) for name in module.inputs}
            given = pd.DataFrame(columns, index=inputs.index)[rows].reset_index(drop=True)
            error: str | None = None
            try:
                started = time.monotonic()
                result = checked(module, given, module.process(given)) if rows.any() else None
                if time.monotonic() - started > self.budget_seconds:
                    result, error = None, f"over its budget of {self.budget_seconds:g} s for a batch"
            except Exception as cause:
                if self.on_failure == "fail":
                    raise ModuleError(f"science module {module.name} failed: {type(cause).__name__}: {cause}; [science] on_failure is 'fail'") from cause
                result, error = None, f"{type(cause).__name__}: {cause}"[:200]
            for field in module.outputs:
                out[f"{module.name}.{field}"] = _spread(None if result is None else result[field], rows)
            out[f"{module.name}.error"] = np.where(rows, np.array(error, object), np.array(None, object)) if error else np.full(len(rows), None, object)
        return pd.DataFrame({f"{module}.{field}": out[f"{module}.{field}"] for module, field, _ in self.fields}, index=inputs.index)


def checked(module: ScienceModule, given: pd.DataFrame, result: pd.DataFrame) -> pd.DataFrame:
    """The result, if it keeps the contract: declared columns only, same number of rows; else BrokenContract."""
    if list(result.columns) != list(module.outputs):
        if missing := [name for name in module.outputs if name not in result]:
            raise BrokenContract(f"{module.name} declared {', '.join(missing)} and did not return it")
        if extra := [name for name in result if name not in module.outputs]:
            raise BrokenContract(f"{module.name} returned {', '.join(map(str, extra))} and did not declare it")
    if len(result) != len(given):
        raise BrokenContract(f"{module.name} returned {len(result)} rows for {len(given)} alerts")
    if not result.index.equals(given.index):
        raise BrokenContract(f"{module.name} returned its rows with another index; keep the index of `alerts`")
    return result


def _spread(values: pd.Series | None, rows: NDArray[np.bool_]) -> Any:
    """Values of the selected rows among nulls for the others, as Arrow takes them."""
    if values is None:
        return np.full(len(rows), None, object)
    if rows.all():
        return _nullable(values)
    full = np.full(len(rows), None, object)
    full[rows] = _nullable(values)
    return full


def _nullable(values: pd.Series) -> NDArray[np.object_]:
    found = values.to_numpy(object)
    missing = values.isna().to_numpy()
    return np.where(missing, np.array(None, object), found) if missing.any() else found


def _address(kind: type[ScienceModule]) -> tuple[str, str, str]:
    """Where a worker finds the class again: (file, module, name)."""
    file = inspect.getfile(kind) if kind.__module__.startswith("fink_science_modules.") else ""
    return file, kind.__module__, kind.__name__


@lru_cache(maxsize=16)
def _instances(made: str) -> list[ScienceModule]:
    """The modules, set up once a worker process."""
    found = []
    for (file, module, name), params in json.loads(made):
        kinds = _classes(Path(file)) if file else (getattr(importlib.import_module(module), name),)
        instance = next(kind for kind in kinds if kind.__name__ == name)(**params)
        instance.setup()
        found.append(instance)
    return found


def _ordered(kinds: Sequence[type[ScienceModule]]) -> list[type[ScienceModule]]:
    """Modules so that each comes after those whose outputs it reads; ModuleError for a circle."""
    left, done = {kind.name: kind for kind in kinds}, []
    while left:
        ready = [kind for kind in left.values() if not any(column.split(".")[0] in left for column in kind.inputs)]
        if not ready:
            raise ModuleError(f"science modules read each other's outputs in a circle: {', '.join(left)}; break it")
        for kind in ready:
            done.append(left.pop(kind.name))
    return done


def flat(*columns: pd.Series) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """Ragged columns (one array a row) as flat arrays, with the row of each point: numpy instead of loops."""
    lengths = np.array([0 if value is None else len(value) for value in columns[0]], np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    kinds = [next((np.asarray(v).dtype for v in column if v is not None and len(v)), np.dtype(float)) for column in columns]
    parts = [
        np.concatenate([np.asarray(value) for value in column if value is not None and len(value)]) if lengths.sum() else np.array([], kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return rows, parts
