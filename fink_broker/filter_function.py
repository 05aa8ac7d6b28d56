"""Filters that are Python functions over Series: their arguments found by name, all evaluated in one pass."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from fink_broker.errors import FilterError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from fink_broker.filters import Filter
    from fink_broker.survey import Survey


def load(rule: Filter) -> Callable[..., Any]:
    """The function of a filter; FilterError when it cannot be imported."""
    module, _, name = rule.python.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        reason = f"filter {rule.name}: cannot import {rule.python}: {error}"
        raise FilterError(f"{reason}; install its package or mend `python`") from error
    if not callable(found):
        raise FilterError(f"filter {rule.name}: {rule.python} is not a function; name one after the colon")
    return found


def bind(rule: Filter, schema: StructType, survey: Survey) -> dict[str, str]:
    """Spark SQL of each argument: as the filter says, else the row's column, fink-client's name, or the one leaf of that name."""
    bound: dict[str, str] = {}
    parameters = inspect.signature(load(rule)).parameters
    if unknown := sorted(set(rule.arguments) - set(parameters)):
        raise FilterError(f"filter {rule.name}: {rule.python} has no argument {', '.join(unknown)}; it takes {', '.join(parameters)}")
    leaves = _leaves(schema)
    for name, parameter in parameters.items():
        places = leaves.get(name, [])
        if name in rule.arguments:
            bound[name] = rule.arguments[name]
        elif name in schema.names:
            bound[name] = f"`{name}`"
        elif name in survey.client:
            bound[name] = survey.client[name]
        elif len(places) == 1 or (places and places[0].count(".") == 1 and places[0].startswith("packet.")):
            bound[name] = places[0]
        elif places:
            raise FilterError(f"filter {rule.name}: argument '{name}' may be {' or '.join(places)}; say which under [arguments] {name} = \"…\"")
        elif parameter.default is inspect.Parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            raise FilterError(
                f"filter {rule.name}: nothing is called '{name}' in alerts of {survey.name}, an argument of {rule.python};"
                f' give it under [arguments] {name} = "SQL expression"'
            )
    return bound


def _leaves(schema: StructType) -> dict[str, list[str]]:
    """Paths of the fields inside the row's structs, the packet's own columns first."""
    from pyspark.sql.types import StructType

    found: dict[str, list[str]] = {}
    for top in schema.fields:
        if not isinstance(top.dataType, StructType) or top.name in ("origin", "lightcurve"):
            continue
        for inner in top.dataType.fields:
            found.setdefault(inner.name, []).insert(0, f"{top.name}.{inner.name}")
            if isinstance(inner.dataType, StructType) and top.name == "packet":
                for leaf in inner.dataType.names:
                    found.setdefault(leaf, []).append(f"packet.{inner.name}.{leaf}")
    return found


def counter(spark: SparkSession) -> Any:
    """Accumulator of failures by filter name."""
    from pyspark.accumulators import AccumulatorParam

    class Counts(AccumulatorParam[Counter[str]]):
        def zero(self, value: Counter[str]) -> Counter[str]:
            del value
            return Counter()

        def addInPlace(self, value1: Counter[str], value2: Counter[str]) -> Counter[str]:
            return value1 + value2

    return spark.sparkContext.accumulator(Counter(), Counts())


def evaluate(frame: DataFrame, rules: Sequence[Filter], survey: Survey, failures: Any = None) -> Column:
    """A struct with one boolean a filter; null where the filter failed."""
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.functions import pandas_udf

    bound = {rule.name: bind(rule, frame.schema, survey) for rule in rules}
    inputs = sorted({sql for arguments in bound.values() for sql in arguments.values()})
    places = {sql: f"c{place}" for place, sql in enumerate(inputs)}
    calls = [(rule.name, rule, {name: places[sql] for name, sql in bound[rule.name].items()}) for rule in rules]

    def run(columns: pd.DataFrame) -> pd.DataFrame:
        chosen = {}
        for name, rule, arguments in calls:
            try:
                given = load(rule)(**{argument: columns[place] for argument, place in arguments.items()})
                chosen[name] = as_bools(given, len(columns))
            except Exception as error:
                logging.getLogger("fink.filters").warning("filter failed: %s: %s: %s", name, type(error).__name__, error)
                if failures is not None:
                    failures.add(Counter({name: 1}))
                chosen[name] = pd.Series([None] * len(columns), dtype="object")
        return pd.DataFrame(chosen)

    struct = F.struct(*(F.expr(f"(\n{sql}\n)").alias(place) for sql, place in places.items()))
    returns = ", ".join(f"`{name}` boolean" for name, _, _ in calls)
    made: Column = pandas_udf(run, returnType=returns)(struct)  # type: ignore[call-overload]
    return made


def as_bools(given: Any, rows: int) -> pd.Series[Any]:
    """The answer of a filter function as bools, null counting as no."""
    answer = pd.Series(given).reset_index(drop=True)
    if len(answer) != rows:
        raise FilterError(f"gave {len(answer)} answers for {rows} alerts; return one bool for each")
    if answer.dtype == object:
        answer = answer.map(lambda value: bool(value) if value is not None and value == value else False)
    return answer.astype(bool)
