"""The client of the schema registry against a real one: ids of its own, schemas that only it has, references, its absence."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from fink_broker.alert import AGAIN, Decoder
from fink_broker.errors import Unavailable, UnknownSchema, one_line
from fink_broker.schema import Schema, SchemaLibrary, fingerprint
from fink_broker.schema_registry import RegistryClient
from fink_broker.services import process
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey
from fink_broker.testing import encode, make_alerts
from tests.integration.registry import register, registry
from tests.integration.test_alert import records

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.integration
FOLDER = data_folder("schemas")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


def named(value: bytes, identifier: int) -> bytes:
    """The packet with another schema id in its framing."""
    return b"\0" + struct.pack(">I", identifier) + value[5:]


def newer() -> Schema:
    """A version that schemas/ does not have: one field more in each source."""
    source = json.loads(SchemaLibrary.load(FOLDER, "lsst").newest.source.replace("v11_1", "v12_0"))
    (place,) = (field for field in source["fields"] if field["name"] == "diaSource")
    place["type"]["fields"].append({"name": "glint", "type": ["null", "double"], "default": None})
    return Schema("lsst", "12.0", json.dumps(source))


def decode(spark: SparkSession, decoder: Decoder, values: list[bytes]) -> tuple[list[Any], int]:
    """Rows in the order of the packets, and how many were not read in the fast way."""
    fast = decoder.decode(records(spark, values)).cache()
    again, located = decoder.decode_again(fast.where(f"reason = '{AGAIN}'"))
    slow = again.collect()
    rows = [*fast.where(f"reason is null or reason <> '{AGAIN}'").collect(), *slow]
    located.unpersist()
    fast.unpersist()
    return sorted(rows, key=lambda row: row["origin"]["offset"]), len(slow)


def test_every_lsst_schema_comes_back_as_it_was_registered(url: str) -> None:
    client = RegistryClient(url)
    for schema in SchemaLibrary.load(FOLDER, "lsst").schemas:
        identifier = register(url, f"roundtrip-{schema.version}", schema.source)
        assert fingerprint(client.get(identifier)) == schema.fingerprint
    with pytest.raises(UnknownSchema, match=f"unknown schema: the registry at {url} has no id 99999"):
        client.get(99999)


def test_parts_that_lie_under_subjects_of_their_own_are_drawn_in(url: str) -> None:
    whole = json.loads(SchemaLibrary.load(FOLDER, "lsst").newest.source)
    names = {}
    for field in whole["fields"]:
        kind = field["type"]
        record = next((part for part in (kind if isinstance(kind, list) else [kind]) if isinstance(part, dict) and part["type"] == "record"), None)
        if record and field["name"] in ("diaSource", "diaObject"):
            names[record["name"]] = json.dumps(record)
            field["type"] = [record["name"] if part is record else part for part in kind] if isinstance(kind, list) else record["name"]
    assert names
    references = []
    for name, source in names.items():
        register(url, name, source)
        references.append({"name": name, "subject": name, "version": 1})
    identifier = register(url, "alert-in-parts", json.dumps(whole), references)
    assert fingerprint(RegistryClient(url).get(identifier)) == SchemaLibrary.load(FOLDER, "lsst").newest.fingerprint


def test_ids_of_the_registry_are_mapped_to_known_schemas(spark: SparkSession, url: str) -> None:
    library = SchemaLibrary.load(FOLDER, "lsst", url)
    identifier = register(url, "mapped", library.newest.source)
    assert identifier not in library.ids()
    alerts = list(make_alerts("lsst", 6, seed=3))
    values = [named(encode("lsst", alert.packet), identifier) for alert in alerts]
    decoder = Decoder(load_survey(FOLDER, "lsst"), library)
    rows, slow = decode(spark, decoder, values)
    assert [row["alert_id"] for row in rows] == [alert.alert_id for alert in alerts]
    assert {row["schema"] for row in rows} == {"lsst/11.1"}
    assert slow == 6
    rows, slow = decode(spark, decoder, values)
    assert (len(rows), slow) == (6, 0)  # the id is known now


def test_a_schema_that_only_the_registry_has(spark: SparkSession, url: str, tmp_path: Path) -> None:
    schema = newer()
    identifier = register(url, "alert-packet", schema.source)
    alerts = list(make_alerts("lsst", 5, seed=4))
    for place, alert in enumerate(alerts):
        alert.packet["diaSource"]["glint"] = place / 2
    values = [named(encode("lsst", alert.packet, schema), identifier) for alert in alerts]
    old = encode("lsst", alerts[0].packet)
    decoder = Decoder(load_survey(FOLDER, "lsst"), SchemaLibrary.load(FOLDER, "lsst", url, tmp_path))
    with pytest.raises(Unavailable, match=r"new lsst schema in the registry: version .*; it is known now, the batch runs again with it"):
        decode(spark, decoder, [old, *values, named(old, 99998)])
    rows, slow = decode(spark, decoder, [old, *values, named(old, 99998)])
    assert slow == 1
    assert [row["alert_id"] for row in rows[1:-1]] == [alert.alert_id for alert in alerts]
    assert [row["packet"]["diaSource"]["glint"] for row in rows[:-1]] == [None, 0, 0.5, 1, 1.5, 2]
    assert rows[-1]["reason"] == f"unknown schema: the registry at {url} has no id 99998"

    # a later start knows it without the registry, and so does one that has none
    for address in ("", "http://127.0.0.1:9"):
        later = Decoder(load_survey(FOLDER, "lsst"), SchemaLibrary.load(FOLDER, "lsst", address, tmp_path), versions=("12.0",))
        rows, slow = decode(spark, later, values)
        assert slow == 0
        assert rows[4]["packet"]["diaSource"]["glint"] == 2


def test_a_schema_of_something_else_is_told(spark: SparkSession, url: str) -> None:
    identifier = register(url, "other", json.dumps({"type": "record", "name": "weather", "fields": [{"name": "wind", "type": "double"}]}))
    value = b"\0" + struct.pack(">I", identifier) + struct.pack("<d", 3.5)
    library = SchemaLibrary.load(FOLDER, "lsst", url)
    decoder = Decoder(load_survey(FOLDER, "lsst"), library)
    rows, _ = decode(spark, decoder, [value, encode("lsst", next(make_alerts("lsst", 1)).packet)])
    assert rows[0]["reason"] == f"unknown schema: id {identifier} of the registry is 'weather', no alert of lsst"
    assert rows[1]["reason"] is None
    assert fastavro.parse_schema(RegistryClient(url).get(identifier))


def test_without_the_registry_known_schemas_are_read_and_unknown_ids_wait(spark: SparkSession, tmp_path: Path) -> None:
    """A registry that is away must not put good alerts into the quarantine: the batch is tried again."""
    dead = f"http://127.0.0.1:{process.free_port()}"
    decoder = Decoder(load_survey(FOLDER, "lsst"), SchemaLibrary.load(FOLDER, "lsst", dead))
    value = encode("lsst", next(make_alerts("lsst", 1)).packet)
    rows, slow = decode(spark, decoder, [value, value])
    assert ([row["reason"] for row in rows], slow) == ([None, None], 0)
    with pytest.raises(Exception, match="Unavailable") as caught:
        decode(spark, decoder, [value, named(value, 4242)])
    told = one_line(caught.value)
    assert "\n" not in told
    assert f"schema registry at {dead} does not answer" in told
    assert "check [kafka] schema_registry_url" in told
