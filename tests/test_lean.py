"""Only what expressions read of a packet is decoded."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from fink_broker import lean
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey
from fink_broker.testing import make_alerts


def test_paths_of_expressions() -> None:
    tree = lean.needed(["packet.candidate.rb > 0.5 and packet.`candidate`.`fid` = 1", "'packet.no.text' = packet.objectId"])
    assert tree == {"candidate": {"rb": {}, "fid": {}}, "objectId": {}}


def test_a_whole_struct_wins_over_its_fields() -> None:
    assert lean.needed(["packet.candidate.rb", "packet.candidate", "packet.candidate.fid"]) == {"candidate": {}}


def test_points_need_only_the_fields_that_are_named() -> None:
    sources = [{"points": "packet.prv_candidates", "time": "x.jd", "mag": "if(x.magpsf > 0, x.magpsf, null)", "where": "x.candid is not null"}]
    assert lean.needed([], sources) == {"prv_candidates": {"jd": {}, "magpsf": {}, "candid": {}}}


@pytest.mark.parametrize("name", ["ztf"])  # the others in integration/test_alert.py: fastavro cannot resolve their unions
def test_a_pruned_schema_reads_the_same_values(name: str) -> None:
    survey, library = load_survey(data_folder("schemas"), name), SchemaLibrary.load(data_folder("schemas"), name)
    tree = lean.needed([*survey.neutral.values(), *survey.quality.values()], survey.lightcurve)
    union = library.union()
    reader = lean.pruned(union, tree)
    assert len(json.dumps(reader)) < 0.5 * len(json.dumps(union))
    made = next(iter(make_alerts(name, 1, seed=3)))
    writer = fastavro.parse_schema(json.loads(library.default.text))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, writer, made.packet)
    body.seek(0)
    read = fastavro.schemaless_reader(body, writer, fastavro.parse_schema(reader))
    assert {field["name"] for field in reader["fields"]} == set(read) <= {field["name"] for field in union["fields"]}
    for top in tree:
        value, whole = read[top], made.packet.get(top)
        if isinstance(value, dict) and isinstance(whole, dict):
            assert all(value[field] == pytest.approx(whole[field], rel=1e-6) for field in tree[top] if isinstance(whole.get(field), float))
        elif isinstance(value, list):
            assert len(value) == len(whole or [])


def test_unknown_fields_are_no_matter() -> None:
    union = SchemaLibrary.load(data_folder("schemas"), "ztf").union()
    assert [field["name"] for field in lean.pruned(union, lean.needed(["packet.nothing", "packet.objectId"]))["fields"]] == ["objectId"]
