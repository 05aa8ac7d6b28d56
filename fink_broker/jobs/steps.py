"""The steps: plain functions from DataFrame to DataFrame."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from fink_broker.survey import Survey, load_survey

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fink_broker.science import Chain
    from fink_broker.settings import Settings


def science_chain(settings: "Settings", survey: str, history: bool = False) -> "Chain":
    """The enabled science modules of a survey, in their order; with `history` they read the points of earlier nights from HBase, as in a job."""
    from fink_broker.earlier import Earlier
    from fink_broker.science import Chain, Registry

    science = settings.science
    params = {name: dict(values) for name, values in science.params.items()}
    if "xmatch" in science.modules:
        params.setdefault("xmatch", {}).setdefault("folder", str(settings.catalogs_path))
    registry = Registry.load(settings.modules_path)
    site = load_survey(settings.schemas_path, survey)
    earlier = Earlier(settings, survey, site.longitude_deg) if history and science.history_alerts else None
    return Chain(registry, science.modules, params, survey, science.budget_seconds, science.on_failure, earlier)


def enrich(frame: "DataFrame", chain: "Chain", survey: Survey) -> "DataFrame":
    """Adds one struct column per science module, and `provenance`; one Python pass for all modules.

    A module gets only usable alerts for which its `where` holds; for the others its fields are null.
    """
    from pyspark.sql import functions as F

    if not chain.fields:
        return frame.select("*", _provenance(chain))
    columns, modules = list(chain.columns), list(chain.conditions)
    inputs, selected = given(frame, chain, survey)
    flat = ", ".join(f"`{module}.{name}` {kind}" for module, name, kind in chain.fields)

    def run(alerts: pd.DataFrame, mask: pd.DataFrame) -> pd.DataFrame:
        alerts.columns, mask.columns = pd.Index(columns), pd.Index(modules)
        return chain.run(alerts, mask)

    from pyspark.sql.pandas.functions import pandas_udf

    computed = pandas_udf(run, returnType=flat)(inputs, selected)  # type: ignore[call-overload]
    grouped: dict[str, list[Any]] = {}
    for module, name, _ in chain.fields:
        grouped.setdefault(module, []).append(F.col(f"_science.`{module}.{name}`").alias(name))
    structs = [F.struct(*fields).alias(module) for module, fields in grouped.items()]
    return frame.select("*", computed.alias("_science")).select(*frame.columns, *structs, _provenance(chain))


def given(frame: "DataFrame", chain: "Chain", survey: Survey) -> tuple[Any, Any]:
    """Two struct columns: what the modules read (c0, c1, …), and which of them get the alert (m0, m1, …)."""
    from pyspark.sql import functions as F

    usable = "reason is null and " if "reason" in frame.columns else ""
    inputs = F.struct(*(_wanted(name, chain, survey).alias(f"c{i}") for i, name in enumerate(chain.columns)))
    selected = F.struct(*(F.expr(f"coalesce({usable}({where}), false)").alias(f"m{i}") for i, where in enumerate(chain.conditions.values())))
    return inputs, selected


def reads(chain: "Chain", survey: Survey) -> list[str]:
    """Expressions over the packet that the modules' inputs and conditions are."""
    cutouts = [
        survey.cutouts[name.removeprefix("cutout_")] for name in chain.columns if name.startswith("cutout_") and name.removeprefix("cutout_") in survey.cutouts
    ]
    return [*chain.columns, *chain.conditions.values(), *cutouts]


def _wanted(name: str, chain: "Chain", survey: Survey) -> Any:
    """A module's input; cutouts only of the alerts that a module which reads them is given: they are the largest part of a packet."""
    from pyspark.sql import functions as F

    if not name.startswith("cutout_"):
        return column(name, survey)
    asked = " or ".join(f"({chain.conditions[module]})" for module in chain.readers[name] if module in chain.conditions)
    return F.when(F.expr(asked or "false"), column(name, survey))


def column(name: str, survey: Survey) -> Any:
    """The Spark column of an input of a science module."""
    from pyspark.sql import functions as F

    if name.startswith("cutout_"):
        return F.expr(survey.cutouts.get(name.removeprefix("cutout_"), "cast(null as binary)"))
    return F.col(name)


def _provenance(chain: "Chain") -> Any:
    """What the results of a row were made with: versions of broker and modules, and the packet's schema."""
    from pyspark.sql import functions as F

    made = [F.lit(part) for pair in sorted(chain.provenance.items()) for part in pair]
    return F.create_map(*made, F.lit("schema"), F.col("schema")).alias("provenance")
