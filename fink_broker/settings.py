"""All settings in one frozen object: command line > FINK_SECTION__FIELD > profile > conf/fink.toml > default."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fink_broker.errors import ConfigError

PROJECT = Path(__file__).resolve().parent.parent


class Section(BaseModel):
    """Base of the sections: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSettings(Section):
    """Where the broker keeps its state, and which surveys it reads."""

    home: Path = Field(Path("~/.fink"), description="folder of all state: lake, checkpoints, services, logs")
    surveys: tuple[str, ...] = Field(("ztf",), description="surveys whose alerts are read; each is a folder under schemas/")
    schemas: Path | None = Field(None, description="folder of the surveys' schemas; default: the one shipped with the package")


class KafkaSettings(Section):
    """The Kafka cluster that alerts come from and substreams go to."""

    bootstrap_servers: str = Field("", description="HOST:PORT list; empty: the embedded broker that `fink up` started")
    output_servers: str = Field("", description="HOST:PORT list of the cluster for substreams; empty: the same cluster")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the cluster that alerts come from"
    )
    output_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to output_servers, if that is set; the same SASL user"
    )
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("", description="only for SASL_*")
    sasl_username: str = Field("", description="only for SASL_*")
    sasl_password: SecretStr = Field(SecretStr(""), description="only for SASL_*; give it as FINK_KAFKA__SASL_PASSWORD")
    topic_partitions: int = Field(4, ge=1, le=10, description="partitions of a new substream topic (fink-client: at most 10)")
    replication: int = Field(1, ge=1, description="replicas of a new topic")
    retention_hours: float = Field(96.0, gt=0, description="how long a substream topic keeps its messages [h]")
    compression: Literal["zstd", "lz4", "snappy", "gzip", "none"] = Field("lz4", description="compression of substream messages")
    schema_registry_url: str = Field("", description="Confluent schema registry of the survey; empty: schemas/ only")
    timeout_seconds: float = Field(15.0, gt=0, description="how long an unreachable cluster is waited for [s]")


class IngestSettings(Section):
    """How alerts are read and judged."""

    trigger_seconds: float = Field(0.0, ge=0, description="least time between two batches [s]; 0: as soon as possible")
    raw_trigger_seconds: float = Field(20.0, ge=0, description="longest that job ingest waits for a full batch, since nobody waits for the raw table [s]")
    max_offsets_per_trigger: int = Field(
        5000, ge=1, description="most alerts in one batch; fewer where their packets would take more than a ninth of the driver's memory"
    )
    starting_offsets: str = Field("earliest", description="where a new checkpoint starts: earliest, latest or a time (2026-11-20T03:00:00, UTC)")
    duplicate_days: float = Field(8.0, ge=0, description="the same alert id within this time is a duplicate [d]")
    on_bad_alert: Literal["quarantine", "fail"] = Field("quarantine", description="what a bad packet does")

    @field_validator("starting_offsets")
    @classmethod
    def _place(cls, value: str) -> str:
        if value not in ("earliest", "latest"):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("expected earliest, latest or a time such as 2026-11-20T03:00:00") from None
        return value


class LakeSettings(Section):
    """The Parquet lake."""

    path: str = Field("", description="folder or URL of the lake; empty: HOME/lake")
    codec: Literal["zstd", "snappy", "lz4", "none"] = Field("zstd", description="Parquet compression")
    retention_days: float = Field(0.0, ge=0, description="nights older than this are reported for removal [d]; 0: keep all")
    compact: bool = Field(True, description="the jobs merge the small files of closed nights, every hour, in a process of its own")
    min_free_gb: float = Field(5.0, ge=0, description="a warning is logged when less disk than this is free [GB]")


class HBaseSettings(Section):
    """HBase, reached over its Thrift server."""

    host: str = Field("", description="host of the Thrift server; empty: the embedded one that `fink up` started")
    port: int = Field(9090, ge=1, le=65535, description="port of the Thrift server")
    prefix: str = Field("fink", description="prefix of the table names")
    batch_rows: int = Field(500, ge=1, description="rows put in one Thrift call")
    timeout_seconds: float = Field(15.0, gt=0, description="how long one Thrift call may take [s]")


# Switched on by default; together at most 0.7 ms of CPU an alert of ZTF.
MODULES = (
    "features", "magnitude_rate", "solar_system", "xmatch", "extragalactic", "purity", "early_snia", "variable_star", "stamp_class", "transient", "summary",
)  # fmt: skip


class ScienceSettings(Section):
    """Which science modules run, and with which parameters."""

    modules: tuple[str, ...] = Field(MODULES, description="modules to run; `fink module list` shows all that are installed")
    path: Path | None = Field(None, description="folder of module files; default: science_modules/ of the project")
    params: dict[str, dict[str, Any]] = Field({}, description="parameters: [science.params.MODULE] name = value")
    on_failure: Literal["null", "fail"] = Field("null", description="a module that raises gives null columns, or stops the job")
    budget_seconds: float = Field(30.0, gt=0, description="soft time budget of one module for one batch [s]")
    history_alerts: int = Field(12, ge=0, description="most earlier alerts of an object whose light curves are read from HBase for inputs history.…; 0: none")
    catalogs: Path | None = Field(None, description="folder of imported catalogues; default: HOME/catalogs")


class FilterSettings(Section):
    """Which filters run."""

    path: Path | None = Field(None, description="folder of filter files; default: conf/filters of the project")
    max_rate: float = Field(0.2, gt=0, le=1, description="largest share of alerts that a filter may pass, unless it says otherwise")


class SparkSettings(Section):
    """The Spark session of a job."""

    master: str = Field(
        "local[4]", description="Spark master URL; tasks that wait for Python, Kafka or HBase leave room for others, so more than there are cores"
    )
    driver_memory: str = Field("3g", description="memory of the driver's JVM")
    quick_start: bool = Field(
        False, description="compile with the JVM's first compiler alone: ready sooner, slower after some 20,000 alerts; the demonstration sets it"
    )
    conf: dict[str, str] = Field({}, description="any further Spark setting")


class JobSettings(Section):
    """Supervision of the streaming queries."""

    max_restarts: int = Field(5, ge=0, description="restarts of a failed query before the job gives up")
    backoff_seconds: float = Field(2.0, ge=0, description="wait before the first restart [s]; doubles each time")
    batch_seconds: float = Field(1800.0, gt=0, description="a batch that runs longer is stopped as hanging, and tried again [s]")
    healthy_seconds: float = Field(300.0, gt=0, description="a query that ran this long is forgiven its restarts [s]")


class WebSettings(Section):
    """The REST gateway and its pages."""

    host: str = Field("127.0.0.1", description="address that the gateway listens on")
    port: int = Field(8008, ge=0, le=65535, description="port of the gateway; a busy one is replaced by a free one")
    token: SecretStr = Field(SecretStr(""), description="token that unlocks alerts that are not public; empty: nobody sees them")
    max_rows: int = Field(10_000, ge=1, description="most rows in one answer")


class Settings(BaseSettings):
    """Every setting of the broker. Made once, at the edge, and passed on as an argument."""

    model_config = SettingsConfigDict(env_prefix="FINK_", env_nested_delimiter="__", frozen=True, extra="forbid", nested_model_default_partial_update=True)

    broker: BrokerSettings = BrokerSettings()
    kafka: KafkaSettings = KafkaSettings()
    ingest: IngestSettings = IngestSettings()
    lake: LakeSettings = LakeSettings()
    hbase: HBaseSettings = HBaseSettings()
    science: ScienceSettings = ScienceSettings()
    filters: FilterSettings = FilterSettings()
    spark: SparkSettings = SparkSettings()
    jobs: JobSettings = JobSettings()
    web: WebSettings = WebSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what `load` merged, in the right order."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def home(self) -> Path:
        """Folder of all state, absolute."""
        return self.broker.home.expanduser().resolve()

    @property
    def lake_path(self) -> str:
        """Folder or URL of the lake."""
        return self.lake.path or str(self.home / "lake")

    @property
    def schemas_path(self) -> Path:
        """Folder with one folder a survey."""
        return self.broker.schemas or data_folder("schemas")

    @property
    def modules_path(self) -> Path:
        """Folder of module files."""
        return self.science.path or data_folder("science_modules")

    @property
    def filters_path(self) -> Path:
        """Folder of filter files."""
        return self.filters.path or data_folder("conf/filters")

    @property
    def catalogs_path(self) -> Path:
        """Folder of imported catalogues."""
        return (self.science.catalogs or self.home / "catalogs").expanduser()

    def service(self, name: str) -> dict[str, Any]:
        """What `fink up` wrote of an embedded service in HOME/services.json; empty when it does not run."""
        file = self.home / "services.json"
        if not file.is_file():
            return {}
        found = json.loads(file.read_text()).get(name, {})
        return found if isinstance(found, dict) else {}

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address: the configured one, else the embedded broker's."""
        address = self.kafka.bootstrap_servers or self.service("kafka").get("bootstrap_servers", "")
        if not address:
            raise ConfigError(
                "no Kafka to talk to: [kafka] bootstrap_servers is empty and no embedded broker runs; "
                "start one with `fink up` or set FINK_KAFKA__BOOTSTRAP_SERVERS=HOST:PORT"
            )
        return str(address)

    @property
    def output_servers(self) -> str:
        """Address of the cluster that substreams go to."""
        return self.kafka.output_servers or self.bootstrap_servers

    @property
    def thrift(self) -> tuple[str, int]:
        """Host and port of HBase's Thrift server: the configured one, else the embedded one's."""
        if self.hbase.host:
            return self.hbase.host, self.hbase.port
        found = self.service("hbase")
        if not found:
            raise ConfigError("no HBase to talk to: [hbase] host is empty and no embedded HBase runs; start one with `fink up` or set FINK_HBASE__HOST=HOST")
        return str(found["host"]), int(found["port"])


def data_folder(name: str) -> Path:
    """Folder of data shipped with the broker: inside the package when installed, beside it in a checkout."""
    inside = Path(__file__).resolve().parent / "data" / name
    return inside if inside.is_dir() else PROJECT / name


def load(file: Path | None = None, profile: str | None = None, options: dict[str, Any] | None = None) -> Settings:
    """Settings out of conf/fink.toml (or `file`), a profile, the environment and `options` {section: {field: value}}.

    Raises ConfigError naming the nearest known name for an unknown one.
    """
    merged: dict[str, Any] = {}
    path = file or Path(os.environ.get("FINK_CONF", "")) if file or os.environ.get("FINK_CONF") else None
    default = data_folder("conf") / "fink.toml"
    for source in (path or (default if default.is_file() else None), _profile(profile)):
        if source is not None:
            _merge(merged, _read(source))
    environment = _environment()
    _merge(merged, environment)
    _merge(merged, options or {})
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from error


def _profile(name: str | None) -> Path | None:
    name = name or os.environ.get("FINK_PROFILE")
    if not name:
        return None
    path = data_folder("conf/profiles") / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in path.parent.glob("*.toml"))) or "none"
        raise ConfigError(f"no profile named '{name}'; known: {known}; add {path.name} under conf/profiles")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"no settings file at {path}; give one with --conf FILE or FINK_CONF") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}; mend that line") from error


def _environment() -> dict[str, Any]:
    """FINK_SECTION__FIELD variables; a value that is valid JSON is taken as such."""
    found: dict[str, Any] = {}
    for name, value in os.environ.items():
        parts = name.lower().removeprefix("fink_").split("__")
        if name.startswith("FINK_") and len(parts) >= 2:
            inner = found
            for part in parts[:-1]:
                inner = inner.setdefault(part, {})
            try:
                inner[parts[-1]] = json.loads(value) if value[:1] in "[{" else value
            except json.JSONDecodeError:
                inner[parts[-1]] = value
    return found


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    name = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = list(Settings.model_fields)
        if len(where) > 1 and where[0] in Settings.model_fields:
            section = Settings.model_fields[where[0]].annotation
            known = list(getattr(section, "model_fields", {}))
        near = difflib.get_close_matches(where[-1], known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown setting '{name}'; {hint}; `fink config` lists every setting"
    return f"setting '{name}' is {first.get('input')!r}: {first['msg']}; `fink config` lists every setting"
