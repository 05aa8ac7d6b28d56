"""Filters choose alerts: one TOML file each, read again between batches, all applied in one pass."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fink_broker.errors import FilterError
from fink_broker.log import Logger
from fink_broker.settings import data_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from fink_broker.settings import Settings
    from fink_broker.survey import Survey

log = Logger("filters")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
# A filter must give the same answer when a night is replayed, reach nothing but its row, and stop nobody else.
_REFUSED = {
    "select", "reflect", "java_method", "try_reflect", "raise_error", "assert_true", "rand", "randn", "random", "uuid", "shuffle",
    "now", "curdate", "current_date", "current_timestamp", "current_time", "localtimestamp", "monotonically_increasing_id",
    "spark_partition_id", "input_file_name",
}  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """One filter: what it is for, which alerts it chooses, and what of them is sent."""

    name: str
    summary: str
    contact: str = ""
    survey: tuple[str, ...] = ()  # none: all surveys
    where: str = ""  # Spark SQL over the columns of an alert row
    python: str = ""  # or "package.module:function" over Series, returning bools
    arguments: dict[str, str] = field(default_factory=dict, hash=False)  # of that function: name -> Spark SQL
    columns: tuple[str, ...] = ()  # the packet's own columns to send; none: all
    cutouts: bool = True
    max_rate: float | None = None  # largest share of alerts that it may pass; none: [filters] max_rate
    aims: tuple[str, ...] = ()  # labels or kinds of the simulated sky that it means to choose; none: `fink efficiency` calls nothing right or wrong

    @property
    def version(self) -> str:
        """Hash of all that decides which alerts are sent and in which shape."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("summary", "contact", "max_rate", "aims")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


_KEYS: dict[str, type] = {
    "name": str, "summary": str, "contact": str, "survey": list, "where": str, "python": str, "arguments": dict,
    "columns": list, "cutouts": bool, "max_rate": float, "aims": list,
}  # fmt: skip


def topic_name(rule: Filter, survey: str) -> str:
    """Kafka topic of a filter's substream."""
    return f"fink_{rule.name}_{survey}"


def check_name(name: str) -> None:
    """FilterError when a filter cannot be called so: fink-client hides topics fink_ztf_…"""
    if not _NAME.fullmatch(name) or name.startswith("ztf_"):
        raise FilterError(f"'{name}' cannot name a filter; use a-z, 0-9 and _, starting with a letter and not with ztf_")


def read_filter(file: Path) -> Filter:
    """The filter in a TOML file; FilterError in one line when it cannot be used."""

    def refuse(reason: str) -> FilterError:
        return FilterError(f"filter {file.name}: {reason} (in {file.parent})")

    try:
        read = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refuse(f"not valid TOML: {error}; mend that line") from error
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}; see `fink filter list` for those that can") from error
    for key, value in read.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean '{near[0]}'?" if near else "remove it;"
            raise refuse(f"unknown key '{key}'; {hint} known: {', '.join(_KEYS)}")
        if key == "survey" and isinstance(value, str):
            read[key] = value = [value]
        kind = _KEYS[key]
        right = isinstance(value, int | float) and not isinstance(value, bool) if kind is float else isinstance(value, kind)
        if kind in (list, dict) and right:
            right = all(isinstance(part, str) for part in (value.values() if kind is dict else value))
        if not right:
            raise refuse(f"'{key}' is {value!r}; expected {_WORDS[kind]}")
    name = read.get("name", file.stem)
    if name != file.stem:
        raise refuse(f"its name is '{name}' but its file is '{file.name}'; rename one of them")
    check_name(name)
    if not read.get("summary", "").strip():
        raise refuse("no summary; say in one sentence which alerts it chooses")
    if bool(read.get("where")) == bool(read.get("python")):
        raise refuse("needs either `where` (Spark SQL) or `python` (package.module:function), one of them")
    if read.get("python") and not re.fullmatch(r"[\w.]+:\w+", read["python"]):
        raise refuse(f"python is '{read['python']}'; expected package.module:function")
    if read.get("arguments") and not read.get("python"):
        raise refuse("has [arguments] but no `python` to pass them to; remove them")
    if not 0 < read.get("max_rate", 1) <= 1:
        raise refuse(f"max_rate is {read['max_rate']}; expected a share above 0 and up to 1")
    arguments: dict[str, str] = read.get("arguments", {})
    for sql in (read.get("where", ""), *arguments.values()):
        bare = _TEXT.sub(" ", sql).replace("`", " ")
        if refused := sorted(_REFUSED & set(re.findall(r"\w+", bare.lower()))):
            raise refuse(f"uses {', '.join(refused)}; a filter may only look at the alert itself, so leave that out")
        if re.search(r"\bpacket\s*\.", bare) and not read.get("survey"):
            raise refuse('reads packet.… without saying of which survey; add survey = ["ztf"] or use neutral columns')
    lists: dict[str, Any] = {key: tuple(read[key]) for key in ("survey", "columns", "aims") if key in read}
    return Filter(**{**read, **lists, "name": name})


_WORDS = {str: "text", list: "a list of texts", dict: "a table of texts", bool: "true or false", float: "a number"}


def load_filters(path: Path, survey: str) -> list[Filter]:
    """Every filter under `path` for a survey, by name; a broken one is left out with a warning."""
    return FilterSet(path, survey).current()


class FilterSet:
    """The filters of one survey, read again when their files change; a broken one is left out and said once."""

    def __init__(self, path: Path, survey: str, settings: Settings | None = None) -> None:
        self.path = path
        self.survey = survey
        self.filters: list[Filter] = []  # as of the last `current`
        self.broken: dict[str, str] = {}  # name -> why it was left out then
        self._settings = settings
        self._read: dict[Path, tuple[tuple[int, int], Filter | str]] = {}
        self._checked: dict[tuple[str, Filter], str] = {}

    def current(self, schema: StructType | None = None) -> list[Filter]:
        """The filters as their files are now; with a schema, those that can run on rows of it (each is tried once)."""
        found: dict[Path, tuple[tuple[int, int], Filter | str]] = {}
        for file in sorted(self.path.glob("*.toml")):
            try:
                state = file.stat()
            except FileNotFoundError:
                continue
            stamp = (state.st_mtime_ns, state.st_size)
            known = self._read.get(file)
            found[file] = known if known and known[0] == stamp else (stamp, self._take(file))
        self._read = found
        self.broken = {file.stem: rule for file, (_, rule) in found.items() if isinstance(rule, str)}
        rules = [rule for _, rule in found.values() if isinstance(rule, Filter)]
        self.filters = [rule for rule in rules if not rule.survey or self.survey in rule.survey]
        if schema is not None:
            self._check(schema)
        return self.filters

    def suspend(self, name: str, reason: str) -> None:
        """Leave a filter out until its file changes: it made a batch fail (see `failing`)."""
        file = self.path / f"{name}.toml"
        if file in self._read:
            self._read[file] = (self._read[file][0], reason)
        log.warning("filter suspended", filter=name, survey=self.survey, reason=reason)

    def _take(self, file: Path) -> Filter | str:
        try:
            rule = read_filter(file)
        except FilterError as error:
            log.warning("filter left out", filter=file.stem, survey=self.survey, reason=str(error))
            return str(error)
        if self._read:
            log.info("filter read", filter=rule.name, survey=self.survey, version=rule.version)
        return rule

    def _check(self, schema: StructType) -> None:
        from pyspark.sql import SparkSession

        from fink_broker.survey import load_survey

        layout = schema.simpleString()
        new = [rule for rule in self.filters if (layout, rule) not in self._checked]
        if new:
            folder = self._settings.schemas_path if self._settings else data_folder("schemas")
            rows = SparkSession.active().createDataFrame([], schema)
            _, broken = usable(rows, new, load_survey(folder, self.survey))
            self._checked |= {(layout, rule): broken.get(rule.name, "") for rule in new}
            for name, reason in broken.items():
                log.warning("filter left out", filter=name, survey=self.survey, reason=reason)
        self.broken |= {rule.name: why for rule in self.filters if (why := self._checked[layout, rule])}
        self.filters = [rule for rule in self.filters if rule.name not in self.broken]


def route(frame: DataFrame, filters: Sequence[Filter], survey: Survey, failures: Any = None) -> DataFrame:
    """Adds `topics`: the Kafka names of the filters that choose the alert; none for alerts that are not public.

    `failures`, made by filter_function.counter, counts the Python filters that raised.
    """
    from pyspark.sql import functions as F

    from fink_broker import filter_function
    from fink_broker.frame import names

    functions = [rule for rule in filters if rule.python]
    if functions:
        frame = frame.withColumn("_chosen", filter_function.evaluate(frame, functions, survey, failures))
    # array_compact is a higher-order function, which Spark interprets: hundreds of filters never meet the 64 KB limit of a
    # compiled method, and the cost stays linear. The line breaks end a comment at the end of an expression.
    cases = [f"case when (\n{rule.where or f'_chosen.`{rule.name}`'}\n) then '{topic_name(rule, survey.name)}' end" for rule in filters]
    allowed = "coalesce(public, false)" + (" and reason is null" if "reason" in names(frame) else "")
    topics = f"if({allowed}, array_compact(array({', '.join(cases)})), array())" if cases else "array()"
    return frame.withColumn("topics", F.expr(f"cast({topics} as array<string>)")).drop("_chosen")


def usable(frame: DataFrame, filters: Sequence[Filter], survey: Survey) -> tuple[list[Filter], dict[str, str]]:
    """The filters that can run on such rows, and why the others cannot."""
    good: list[Filter] = []
    broken: dict[str, str] = {}
    for rule in filters:
        try:
            check(frame, rule, survey)
            good.append(rule)
        except FilterError as error:
            broken[rule.name] = str(error)
    return good, broken


def failing(frame: DataFrame, filters: Sequence[Filter], survey: Survey) -> dict[str, str]:
    """Which filters cannot be evaluated on these very alerts, and why: all together first, then each alone, so only after a failure."""
    broken: dict[str, str] = {}
    try:
        route(frame, filters, survey).selectExpr("max(size(topics))").collect()
        return broken
    except Exception as error:  # whatever Spark or Java make of it
        log.debug("filters are tried one by one", survey=survey.name, filters=len(filters), cause=_line(error))
    for rule in filters:
        try:
            route(frame, [rule], survey).selectExpr("max(size(topics))").collect()
        except Exception as error:
            broken[rule.name] = f"filter {rule.name}: fails on alerts: {_line(error)}; mend `{_short(rule.where or rule.python)}`"
    return broken


def check(frame: DataFrame, rule: Filter, survey: Survey) -> None:
    """FilterError, naming what exists, unless the filter can run on rows such as those of `frame`."""
    from fink_broker import filter_function

    columns = frame.columns
    if "packet" in columns:
        own = frame.select("packet.*").columns
        for name in (name for name in rule.columns if name not in own):
            raise FilterError(f"filter {rule.name}: no column '{name}' in the packet of {survey.name}; {_nearest(name, own)}")
    if rule.python:
        for sql in filter_function.bind(rule, frame.schema, survey).values():
            analyse(frame, rule, sql, boolean=False)
    else:
        analyse(frame, rule, rule.where, boolean=True)


def analyse(frame: DataFrame, rule: Filter, sql: str, boolean: bool) -> None:
    """FilterError unless Spark understands the expression on rows of `frame`."""
    from pyspark.errors import AnalysisException, ParseException

    _quiet()
    try:
        made = frame.where(sql) if boolean else frame.selectExpr(sql)
        made.schema  # noqa: B018 (analyses)
    except ParseException as error:
        raise FilterError(f"filter {rule.name}: not valid SQL: {_line(error)}; mend `{_short(sql)}`") from error
    except AnalysisException as error:
        raise FilterError(f"filter {rule.name}: {_explain(error, frame)}; mend `{_short(sql)}`") from error


def understood(frame: DataFrame, sql: str) -> bool:
    """Whether Spark understands the expression on rows of `frame`."""
    from pyspark.errors import AnalysisException

    _quiet()
    try:
        frame.selectExpr(sql).schema  # noqa: B018 (analyses)
    except AnalysisException:
        return False
    return True


def _quiet() -> None:
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # prints the whole Java trace


def _explain(error: Any, frame: DataFrame) -> str:
    condition, facts = error.getCondition() or "", error.getMessageParameters() or {}
    if condition.startswith("UNRESOLVED_COLUMN"):
        name = facts.get("objectName", "").replace("`", "")
        return f"no column '{name}'; {_nearest(name, [c for c in frame.columns if not c.startswith('_')])}"
    if condition.startswith("FIELD_NOT_FOUND"):
        name = facts.get("fieldName", "").replace("`", "")
        return f"no field '{name}'; {_nearest(name, re.findall(r'[^`, ]+', facts.get('fields', '')))}"
    if condition.endswith("FILTER_NOT_BOOLEAN"):
        return "gives no true or false; end it with a comparison"
    return _line(error)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}known: {', '.join(known)}"


def _line(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^\[[\w.]+\]\s*|\s*SQLSTATE:.*$|\s*\(line.*$", "", text).rstrip(" .")


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 80 else text[:77] + "…"
