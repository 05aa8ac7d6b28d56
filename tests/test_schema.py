"""Schemas: the same as the surveys', one union that holds them all."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from fastavro.utils import generate_one

from fink_broker.errors import Unavailable, UnknownSchema
from fink_broker.schema import Schema, SchemaLibrary, fingerprint
from fink_broker.schema_registry import RegistryClient
from fink_broker.settings import data_folder

FOLDER = data_folder("schemas")
# First digits of SHA-256 of the canonical form, worked out from the surveys' own files.
KNOWN = {
    "ztf": {"1.3": "ce32d304a600", "1.8": "6ac12491df76", "3.0": "bcaf63da6165", "3.1": "77c45bb5788e", "3.2": "42460973aa36",
            "3.3": "09b312a2dadf", "3.3-b": "a2b4803c4b8a", "3.3-c": "e8a1bbd8f8bf", "3.5": "d4e05a0925c8", "4.02": "2e3ca42a7603"},
    "lsst": {"7.0": "c176fef6a8a0", "7.1": "247bb62dc5e5", "7.2": "015124e99703", "7.3": "0611d6b945c5", "7.4": "fd177231a19c",
             "8.0": "264a45e5ef19", "9.0": "017239c3ff79", "10.0": "2c47c696524b", "11.0": "9c2dfb211e03", "11.1": "9aa444ad6103"},
    "elasticc": {"0.9-first": "d57fa07cd377", "0.9-second": "c797cb4d7987", "0.9.1": "b0e42b5a9a1f"},
}  # fmt: skip


@pytest.mark.parametrize("survey", KNOWN)
def test_our_schemas_are_the_surveys(survey: str) -> None:
    found = {schema.version: schema.fingerprint[:12] for schema in SchemaLibrary.load(FOLDER, survey).schemas}
    assert found == KNOWN[survey]


def test_the_shared_schemas_are_known(shared: Path) -> None:
    library = SchemaLibrary.load(FOLDER, "ztf")
    files = sorted((shared / "schemas" / "ztf").glob("ztf.alert.*.avsc"))
    assert len(files) >= 9
    for file in files:
        assert library.by_fingerprint(fingerprint(json.loads(file.read_text()))), file.name


@pytest.mark.parametrize("survey", KNOWN)
def test_no_sentence_of_the_source_is_kept(survey: str) -> None:
    for schema in SchemaLibrary.load(FOLDER, survey).schemas:
        assert '"doc"' not in schema.source


@pytest.mark.parametrize("survey", KNOWN)
def test_the_union_has_every_field_of_every_version_nullable(survey: str) -> None:
    library = SchemaLibrary.load(FOLDER, survey)
    union = library.union()
    fastavro.parse_schema(json.loads(json.dumps(union)))
    names = {field["name"] for field in union["fields"]}
    for schema in library.schemas:
        assert {field["name"] for field in schema.json["fields"]} <= names
    assert all(field["type"][0] == "null" and field["default"] is None for field in union["fields"])


def test_versions_are_in_order() -> None:
    versions = [schema.version for schema in SchemaLibrary.load(FOLDER, "lsst").schemas]
    assert versions == ["7.0", "7.1", "7.2", "7.3", "7.4", "8.0", "9.0", "10.0", "11.0", "11.1"]


def test_an_unknown_id_names_the_known_ones() -> None:
    with pytest.raises(UnknownSchema, match=r"unknown schema: id 12345 is none of lsst's 700, .*1101"):
        SchemaLibrary.load(FOLDER, "lsst").by_confluent_id(12345)


def test_a_silent_registry_tells_its_address() -> None:
    with pytest.raises(Unavailable, match=r"schema registry at http://127.0.0.1:9 does not answer.*schema_registry_url"):
        RegistryClient("http://127.0.0.1:9", 2).get(1)


def test_references_of_a_registry_are_drawn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = {"type": "record", "name": "a.source", "fields": [{"name": "id", "type": "long"}]}
    outer = {"type": "record", "name": "a.alert", "fields": [{"name": "one", "type": "a.source"}, {"name": "more", "type": ["null", "a.source"]}]}
    answers = {
        "/schemas/ids/7": {"schema": json.dumps(outer), "references": [{"name": "a.source", "subject": "s", "version": 1}]},
        "/subjects/s/versions/1": {"schema": json.dumps(inner)},
    }
    asked: list[str] = []

    def get(url: str, timeout: float) -> httpx.Response:
        asked.append(url)
        return httpx.Response(200, json=answers[url.removeprefix("http://registry")])

    monkeypatch.setattr(httpx, "get", get)
    client = RegistryClient("http://registry")
    found = client.get(7)
    assert found["fields"][0]["type"] == inner
    assert found["fields"][1]["type"] == ["null", "a.source"]
    client.get(7)
    assert len(asked) == 2


def test_a_renamed_field_keeps_its_first_name() -> None:
    """Renamed twice, and inside a list of records: bytes of each version are read into the first name."""

    def version(number: int, name: str, aliases: list[str], kind: object) -> Schema:
        point = {"type": "record", "name": "point", "fields": [{"name": name, "type": kind, "aliases": aliases}]}
        fields = [{"name": "id", "type": "long"}, {"name": "points", "type": ["null", {"type": "array", "items": point}]}, {"name": "best", "type": "point"}]
        return Schema("ztf", f"{number}.0", json.dumps({"type": "record", "name": "alert", "fields": fields}))

    names = {1: "mag", 2: "magnitude", 3: "m"}
    versions = [version(1, "mag", [], "float"), version(2, "magnitude", ["mag"], "float"), version(3, "m", ["magnitude"], "double")]
    library = SchemaLibrary("ztf", tuple(versions))
    union = library.union()
    inner = [field["name"] for field in union["fields"][1]["type"][1]["items"][1]["fields"]]
    assert inner == ["mag"]
    assert union["fields"][2]["type"][1]["fields"][0]["type"] == ["null", "double"]
    for number, schema in enumerate(versions, 1):
        assert json.loads(schema.source) != json.loads(library.text(schema)) or number == 1
        stream = io.BytesIO()
        record = {"id": 1, "points": [{names[number]: 18.5}], "best": {names[number]: 17.5}}
        fastavro.schemaless_writer(stream, schema.json, record)
        stream.seek(0)
        assert fastavro.schemaless_reader(stream, json.loads(library.text(schema)), None) == {"id": 1, "points": [{"mag": 18.5}], "best": {"mag": 17.5}}
    assert schema.fingerprint == fingerprint(json.loads(schema.source))


@pytest.mark.parametrize("survey", KNOWN)
def test_fields_written_out_read_the_same_bytes(survey: str) -> None:
    """Every record inline under a name of its own, in the order and with the unions of the version."""
    library = SchemaLibrary.load(FOLDER, survey)
    for schema in library.schemas:
        alone = {"type": "record", "name": "message", "fields": json.loads(library.fields(schema))}
        names = [part["namespace"] + "." + part["name"] for part in records(alone["fields"])]
        assert len(set(names)) == len(names)
        packet = generate_one(schema.json)
        fastavro.schemaless_writer(stream := io.BytesIO(), schema.json, packet)
        stream.seek(0)
        found = fastavro.schemaless_reader(stream, fastavro.parse_schema(alone), None)
        assert stream.read() == b""
        stream.seek(0)
        assert found == fastavro.schemaless_reader(stream, schema.json, None)


@pytest.mark.parametrize("kind", [["int", "string"], {"type": "enum", "name": "e", "symbols": ["A"]}, {"type": "map", "values": "int"}])
def test_what_fink_client_does_not_read_has_no_fields_written_out(kind: object) -> None:
    schema = Schema(
        "ztf", "1.0", json.dumps({"type": "record", "name": "alert", "fields": [{"name": "id", "type": ["null", kind] if isinstance(kind, dict) else kind}]})
    )
    assert SchemaLibrary("ztf", (schema,)).fields(schema) == ""


def test_a_record_is_known_by_its_namespace() -> None:
    """Two records of one name in two namespaces; a reference without one means its own."""

    def record(space: str, kind: object) -> dict[str, object]:
        return {"type": "record", "name": "point", "namespace": space, "fields": [{"name": "x", "type": kind}]}

    own = {"type": "record", "name": "best", "namespace": "a", "fields": [{"name": "p", "type": "point"}]}
    fields = [{"name": "a", "type": record("a", "int")}, {"name": "b", "type": record("b", {"type": "string"})}, {"name": "best", "type": own}]
    schema = Schema("ztf", "1.0", json.dumps({"type": "record", "name": "alert", "fields": fields}))
    a, b, best = json.loads(SchemaLibrary("ztf", (schema,)).fields(schema))
    assert [a["type"]["fields"][0]["type"], b["type"]["fields"][0]["type"]] == ["int", "string"]
    assert best["type"]["fields"][0]["type"]["fields"][0]["type"] == "int"


def records(schema: object) -> Iterator[dict[str, Any]]:
    """Every record in a schema."""
    for part in schema if isinstance(schema, list) else []:
        yield from records(part)
    if isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
        for key in ("type", "items", "fields"):
            yield from records(schema.get(key))
