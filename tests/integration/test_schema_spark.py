"""The JVM reads every version of every survey through the union, field by field as fastavro reads it."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from fastavro.utils import generate_one

from fink_broker.errors import UnknownSchema
from fink_broker.schema import Schema, SchemaLibrary, fingerprint
from fink_broker.settings import data_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = data_folder("schemas")
SURVEYS = ("ztf", "lsst", "elasticc")
MOST = 12  # packets of one file or archive


def through_the_union(spark: SparkSession, library: SchemaLibrary, bodies: list[tuple[str, bytes]]) -> list[dict[str, Any] | None]:
    """Bodies of any versions, decoded in one pass by one expression."""
    from pyspark.sql import functions as F
    from pyspark.sql.avro.functions import from_avro

    options = {"mode": "FAILFAST", "avroSchema": json.dumps(library.union())}
    packet = F.lit(None)
    for schema in library.schemas:
        packet = F.when(F.col("version") == schema.version, from_avro("body", schema.text, options)).otherwise(packet)
    rows = [(place, version, bytearray(body)) for place, (version, body) in enumerate(bodies)]
    frame = spark.createDataFrame(rows, "place int, version string, body binary").select("place", packet.alias("packet"))
    return [row["packet"] and row["packet"].asDict(recursive=True) for row in sorted(frame.collect(), key=lambda row: row["place"])]


def body(schema: Schema, record: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema.json, record)
    return stream.getvalue()


def read(schema: Schema, data: bytes) -> Any:
    stream = io.BytesIO(data)
    record = fastavro.schemaless_reader(stream, schema.json, None)
    assert stream.tell() == len(data)
    return record


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where what the JVM read is not what fastavro read; fields that the version does not have are null."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in found:
            yield from differences(found[name], expected.get(name), f"{path}.{name}")
        yield from (f"{path}.{name} is lost" for name in expected if name not in found)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif not (found == expected or (found != found and expected != expected)):
        yield f"{path}: {found!r}, expected {expected!r}"


def archived(*folders: Path) -> Iterator[bytes]:
    """Avro files under folders and in their archives, the first few of each."""
    for file in itertools.chain.from_iterable(sorted(folder.rglob("*")) for folder in folders):
        if ".tar" in file.name:
            with tarfile.open(file) as tar:
                members = (part.read() for member in tar if (part := tar.extractfile(member)) is not None)
                yield from itertools.islice(members, MOST)
        elif file.suffix == ".avro":
            yield file.read_bytes()


def packets(schema: Schema, blocks: Iterable[Any]) -> Iterator[bytes]:
    """Bodies in the blocks of a container; our schema reads them to the last byte and writes the very bytes of the survey."""
    for block in blocks:
        data = block.bytes_.read()
        stream = io.BytesIO(data)
        for _ in range(block.num_records):
            start = stream.tell()
            record = fastavro.schemaless_reader(stream, schema.json, None)
            assert body(schema, record) == data[start : stream.tell()]
            yield data[start : stream.tell()]
        assert stream.tell() == len(data)


@pytest.mark.integration
@pytest.mark.parametrize("survey", SURVEYS)
def test_random_packets_of_all_versions_in_one_pass(spark: SparkSession, survey: str) -> None:
    library = SchemaLibrary.load(FOLDER, survey)
    random.seed(29)
    bodies = [(schema.version, body(schema, generate_one(schema.json))) for schema in library.schemas for _ in range(3)]
    expected = [read(library.by_version(version), data) for version, data in bodies]
    random.Random(1).shuffle(order := list(range(len(bodies))))
    found = through_the_union(spark, library, [bodies[place] for place in order])
    assert [line for place, packet in zip(order, found, strict=True) for line in differences(packet, expected[place], bodies[place][0])] == []


@pytest.mark.integration
@pytest.mark.parametrize("survey", SURVEYS)
def test_real_packets_of_all_versions_in_one_pass(spark: SparkSession, shared: Path, survey: str) -> None:
    library = SchemaLibrary.load(FOLDER, survey)
    bodies: list[tuple[str, bytes]] = []
    for data in archived(shared / "alerts" / survey, shared / "alerts/edge/crlf_stripped_intact_twin"):
        if data[:4] != b"Obj\x01":
            continue  # in Confluent framing
        reader: Any = fastavro.block_reader(io.BytesIO(data))
        with contextlib.suppress(UnknownSchema):  # Spark's copies, and one of LSST 4.0
            schema = library.by_fingerprint(fingerprint(reader.writer_schema))
            bodies += itertools.islice(((schema.version, one) for one in packets(schema, reader)), MOST)
    assert len(bodies) >= 10
    expected = [read(library.by_version(version), data) for version, data in bodies]
    found = through_the_union(spark, library, bodies)
    assert [line for packet, other, (version, _) in zip(found, expected, bodies, strict=True) for line in differences(packet, other, version)] == []
    if survey != "elasticc":  # of 0.9.1 there is no packet
        assert {version for version, _ in bodies} == {schema.version for schema in library.schemas}


def test_differences_are_seen() -> None:
    assert list(differences({"a": 1, "b": None}, {"a": 2})) == [".a: 1, expected 2"]
    assert list(differences({"a": [1]}, {"a": [1, 2], "c": 3})) == [".a: [1], expected [1, 2]", ".c is lost"]
    assert list(differences({"a": float("nan"), "b": None}, {"a": float("nan")})) == []
