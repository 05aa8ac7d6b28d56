"""Science modules: how they are found, and how several run one after the other on a batch of alerts."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import __version__, past
from fink_broker.errors import BrokenContract, ConfigError, ModuleError, UnknownModule
from fink_broker.science_module import COLUMNS, TYPES, ScienceModule, arrow_type, checked, flat

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "TYPES", "Chain", "Registry", "ScienceModule", "checked", "flat"]

GROUP = "fink.science_modules"


class Registry:
    """All science modules that are installed: files of a folder, and packages by their entry point.

    One that cannot be imported is an error only when it is asked for: installed is not enabled.
    """

    def __init__(self, modules: Mapping[str, tuple[type[ScienceModule], str]], broken: Mapping[str, ModuleError] | None = None) -> None:
        self._modules = dict(modules)
        self.broken = dict(broken or {})

    @staticmethod
    def load(folder: Path) -> Registry:
        """Modules under `folder` (NAME.py or NAME/__init__.py) and of entry-point group fink.science_modules."""
        found: dict[str, tuple[type[ScienceModule], str]] = {}
        broken: dict[str, ModuleError] = {}
        for name, origin, load in [*_from_folder(folder), *_from_packages()]:
            try:
                kinds = load()
            except ModuleError as error:
                broken[name] = error
                continue
            for kind in kinds:
                if kind.name in found and found[kind.name][0] is not kind:
                    raise ModuleError(f"two science modules are named '{kind.name}': {found[kind.name][1]} and {origin}; rename one of them")
                found[kind.name] = (kind, origin)
        return Registry(found, broken)

    def __iter__(self) -> Iterator[str]:
        """Names, sorted."""
        return iter(sorted(self._modules))

    def get(self, name: str) -> type[ScienceModule]:
        """The class of a module; UnknownModule naming the nearest, or why it cannot be imported."""
        if name not in self._modules:
            if name in self.broken:
                raise self.broken[name]
            near = difflib.get_close_matches(name, self._modules, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"installed: {', '.join(sorted(self._modules)) or 'none'}"
            raise UnknownModule(f"no science module named '{name}'; {hint}; `fink module list` shows all")
        return self._modules[name][0]

    def again(self, name: str, module: str) -> type[ScienceModule]:
        """The class of a module, under another name if that is asked for: two versions of a model, side by side."""
        kind = self.get(module)
        return kind if name == kind.name else _renamed(kind, name)

    def origin(self, name: str) -> str:
        """File or package that a module comes from."""
        self.get(name)
        return self._modules[name][1]


def _from_folder(folder: Path) -> list[tuple[str, str, Any]]:
    files = sorted([*folder.glob("[!_]*.py"), *folder.glob("[!_]*/__init__.py")])
    return [(file.parent.name if file.name == "__init__.py" else file.stem, str(file), lambda file=file: _classes(file)) for file in files]


def _from_packages() -> list[tuple[str, str, Any]]:
    found = []
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "a package"
        found.append((point.name, f"package {package} ({point.value})", lambda point=point, package=package: _load_point(point, package)))
    return found


def _load_point(point: Any, package: str) -> tuple[type[ScienceModule], ...]:
    """The module that an entry point names."""
    try:
        found = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModuleError(f"science module {point.name} of package {package} cannot be imported: {reason}; mend or uninstall it") from error
    if not (inspect.isclass(found) and issubclass(found, ScienceModule)):
        raise BrokenContract(f"entry point {point.name} of package {package} is {point.value}, which is no ScienceModule; name the class")
    return (found,)


@lru_cache(maxsize=256)
def _classes(file: Path) -> tuple[type[ScienceModule], ...]:
    """Science modules defined in a file, which is imported once a process."""
    name = f"fink_science_modules.{file.parent.name if file.name == '__init__.py' else file.stem}"
    places = [str(file.parent)] if file.name == "__init__.py" else None  # so that a folder's files import each other
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        return ()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleError as error:
        raise type(error)(f"{error} ({file})") from error
    except Exception as error:
        raise ModuleError(f"science module {file.name} cannot be imported: {type(error).__name__}: {error}; mend it ({file})") from error
    kinds = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, ScienceModule)]
    return tuple(kind for kind in kinds if kind.__module__ == name and not inspect.isabstract(kind))


class Chain:
    """The enabled modules of a survey in their order, run on batches of alerts; cheap to send to workers."""

    def __init__(
        self, registry: Registry, names: Sequence[str], params: Mapping[str, Mapping[str, Any]], survey: str,
        budget_seconds: float = 30.0, on_failure: str = "null", earlier: past.Store | None = None,
    ) -> None:  # fmt: skip
        for name, values in params.items():
            registry.get(values.get("module", name))
        kinds = [registry.again(name, params.get(name, {}).get("module", name)) for name in dict.fromkeys(names)]
        kinds = [kind for kind in kinds if "*" in kind.surveys or survey in kind.surveys]
        _check_inputs(kinds, registry, survey)
        self.budget_seconds, self.on_failure, self.earlier = budget_seconds, on_failure, earlier
        own = {kind.name: {key: value for key, value in params.get(kind.name, {}).items() if key != "module"} for kind in kinds}
        made = [kind(**own[kind.name]) for kind in _ordered(kinds)]
        self._made = json.dumps([(_address(type(module)), module.name, own[module.name]) for module in made], default=str)
        self.names = tuple(module.name for module in made)
        self.conditions = {module.name: module.where for module in made}
        self.history = past.wanted(dict.fromkeys(c for module in made for c in module.inputs))
        self._asking = [module.name for module in made if past.wanted(module.inputs)]  # modules that read the history
        read = [c for module in made for c in module.inputs if c.split(".")[0] not in self.names and c not in self.history]
        self.columns = tuple(dict.fromkeys([*read, *(past.NEEDED if self.history else ())]))
        self.readers = {column: tuple(module.name for module in made if column in module.inputs) for column in self.columns}
        self.off: dict[str, str] = {}  # modules that do not run, and why
        self.fields = [(module.name, field, kind) for module in made for field, kind in [*module.outputs.items(), ("error", "string")]]
        self.provenance = {"broker": __version__, **{module.name: module.provenance() for module in made}}

    def alone(self, name: str) -> Chain:
        """The chain of one module only; what it reads of others are columns of the inputs."""
        one = copy(self)
        one.names, one.conditions, one.fields = (name,), {name: self.conditions[name]}, [field for field in self.fields if field[0] == name]
        one._made = json.dumps([made for made, known in zip(json.loads(self._made), self.names, strict=True) if known == name])
        (module,) = _instances(one._made)
        one.history = past.wanted(module.inputs)
        one._asking = [name] if one.history else []
        one.columns = tuple(dict.fromkeys([*(c for c in module.inputs if c not in one.history), *(past.NEEDED if one.history else ())]))
        one.readers = dict.fromkeys(one.columns, (name,))
        return one

    def without(self, name: str, reason: str) -> Chain:
        """The chain with one module switched off: its columns stay, null, and its `error` is the reason."""
        other = copy(self)
        other.off = {**self.off, name: reason}
        return other

    def run(self, inputs: pd.DataFrame, selected: pd.DataFrame, points: pd.DataFrame | None = None) -> pd.DataFrame:
        """`arrays` as a frame."""
        out = self.arrays(inputs, selected, points)
        return pd.DataFrame({name: _series(values, inputs.index) for name, values in out.items()}, index=inputs.index)

    def arrays(self, inputs: pd.DataFrame, selected: pd.DataFrame, points: pd.DataFrame | None = None) -> dict[str, pa.Array]:
        """Outputs of every module as columns MODULE.field, in the order of `fields`; `selected` says which alerts each module is given.

        A module that fails costs its own columns in this batch, which are null, and its `error` says why. `points` are those that
        earlier alerts of the objects brought, for the inputs `history.…` (see past.py); without them they are read from the store
        (`earlier`), and if there is none the history is the alert's light curve.
        """
        out: dict[str, pa.Array] = {}
        if self.history:
            asking, before = inputs[selected[self._asking].any(axis=1)], None
            if points is None and self.earlier is not None:
                points, before = self.earlier.points(asking), self.earlier.before(asking)
            inputs = pd.concat([inputs, past.with_past(asking, points, self.history, before).reindex(inputs.index)], axis=1)
        for module in _instances(self._made):
            rows = selected[module.name].to_numpy(bool)
            found, error = (None, self.off.get(module.name)) if module.name in self.off or not rows.any() else self._run(module, inputs, rows, out)
            for field, kind in module.outputs.items():
                out[f"{module.name}.{field}"] = _spread(None if found is None else found[field], rows, kind)
            out[f"{module.name}.error"] = _told(error, rows)
        return {f"{module}.{field}": out[f"{module}.{field}"] for module, field, _ in self.fields}

    def _run(
        self, module: ScienceModule, inputs: pd.DataFrame, rows: NDArray[np.bool_], out: dict[str, pa.Array]
    ) -> tuple[dict[str, pa.Array] | None, str | None]:
        """What a module makes of its rows, or why there is nothing."""
        try:
            columns = {name: inputs[name] if name in inputs else out[name].to_pandas().set_axis(inputs.index) for name in module.inputs}
            given = pd.DataFrame(columns, index=inputs.index)
            given = (given if rows.all() else given[rows]).reset_index(drop=True)
            _set_up(module)
            started = time.monotonic()
            found = checked(module, given, module.process(given))
            if (taken := time.monotonic() - started) > self.budget_seconds:
                return None, f"over its budget of {self.budget_seconds:g} s: {taken:.2g} s for {len(given)} alerts"
            return found, None
        except Exception as cause:
            if self.on_failure == "fail":
                raise ModuleError(f"science module {module.name} failed: {_reason(module, cause)}; [science] on_failure is 'fail'") from cause
            return None, _reason(module, cause)


def _reason(module: ScienceModule, cause: Exception) -> str:
    """The error in one line, with the place in the module's own file."""
    text = " ".join(str(cause).split())[:240]
    if isinstance(cause, BrokenContract):
        return text
    file = inspect.getfile(type(module))
    places = [f" ({Path(file).name}:{frame.lineno})" for frame in traceback.extract_tb(cause.__traceback__) if frame.filename == file]
    return f"{type(cause).__name__}: {text}{places[-1] if places else ''}"


def _spread(values: pa.Array | None, rows: NDArray[np.bool_], kind: str) -> pa.Array:
    """Values of the selected rows among nulls for the others."""
    import pyarrow as pa

    if values is None:
        return pa.nulls(len(rows), arrow_type(kind))
    return values if rows.all() else values.take(pa.array(np.cumsum(rows) - 1, mask=~rows))


def _series(values: pa.Array, index: pd.Index) -> pd.Series[Any]:
    """A missing list must be None, since readers look into it."""
    import pyarrow as pa

    if pa.types.is_list(values.type):
        return values.to_pandas().set_axis(index)
    return pd.Series(pd.arrays.ArrowExtensionArray(values), index=index)


def _told(error: str | None, rows: NDArray[np.bool_]) -> pa.Array:
    """The reason of a failure beside each row that it cost."""
    import pyarrow as pa

    return pa.nulls(len(rows), pa.string()) if error is None else pa.array([error if row else None for row in rows], pa.string())


def _address(kind: type[ScienceModule]) -> tuple[str, str, str]:
    """Where a worker finds the class again: (file, module, name)."""
    file = inspect.getfile(kind) if kind.__module__.startswith("fink_science_modules.") else ""
    return file, kind.__module__, kind.__name__


@lru_cache(maxsize=16)
def _instances(made: str) -> list[ScienceModule]:
    """The modules, made once a worker process."""
    found = []
    for (file, module, name), own, params in json.loads(made):
        kinds = _classes(Path(file)) if file else (getattr(importlib.import_module(module), name),)
        kind = next(kind for kind in kinds if kind.__name__ == name)
        found.append((kind if own == kind.name else _renamed(kind, own))(**params))
    return found


def _renamed(kind: type[ScienceModule], name: str) -> type[ScienceModule]:
    """A module whose column has another name; its file, and its class's name, stay."""
    return type(kind.__name__, (kind,), {"name": name, "__module__": kind.__module__, "__doc__": kind.__doc__})


def _set_up(module: ScienceModule) -> None:
    """Call `setup` unless that was done; after a failure it is tried again with the next batch."""
    if not getattr(module, "_is_set_up", False):
        module.setup()
        module._is_set_up = True  # type: ignore[attr-defined]


def _check_inputs(kinds: Sequence[type[ScienceModule]], registry: Registry, survey: str) -> None:
    """Every input is a column of the alert row or an output of an enabled module; ModuleError naming the nearest."""
    enabled = {f"{kind.name}.{field}" for kind in kinds for field in [*kind.outputs, "error"]}
    for kind in kinds:
        for name in kind.inputs:
            if name in COLUMNS or name in enabled or name in past.HISTORY or name.startswith("packet."):
                continue
            other = name.split(".")[0]
            if other in set(registry) - {one.name for one in kinds}:
                raise ConfigError(f"science module {kind.name} reads {name}, and {other} does not run for {survey}; add it to [science] modules")
            near = difflib.get_close_matches(name, [*COLUMNS, *past.HISTORY, *enabled], 1)
            hint = f"did you mean '{near[0]}'?" if near else "see the columns in science_modules/README.md"
            raise ModuleError(f"science module {kind.name} reads '{name}', which no alert has; {hint}")


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
