"""Campaigns of several chunks: one sky however it is cut, taken up again after any chunk, also after a kill."""

import signal
import subprocess
import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from fink_broker.cli import app, mount
from fink_broker.errors import ConfigError
from fink_broker.settings import data_folder
from fink_broker.simulate import make_sky_packets
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.census import Census
from fink_broker.skysim.observation import Sky
from fink_broker.skysim.shelf import Shelf
from fink_broker.spool import Packet
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, encode

FOLDER = data_folder("schemas")
LONG: dict[str, Any] = {"number": 600, "seed": 7, "nights": 24, "chunk_alerts": 50, "models": "built-in", "mix": "even"}  # of two surveys


def wire(made: list[MadeAlert]) -> list[tuple[str, str, bytes]]:
    about = load_survey(FOLDER, made[0].survey)
    return [(one.alert_id, one.object_id, encode(about, one.packet)) for one in made]


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_it_is_one_sky_however_it_is_cut(survey: str) -> None:
    options = LONG | {"number": 300, "mix": dict.fromkeys(("AGN", "periodic variable", "SN Ia", "TDE", "bogus", "asteroid"), 1)}  # most of which last
    campaign = Campaign(survey, **options)
    assert (campaign.chunk_nights, campaign.chunks) == (4, 6)
    census = campaign.census()
    chunks = [list(campaign.chunk(chunk, census)) for chunk in range(6)]
    made = [one for chunk in chunks for one in chunk]
    assert len(made) == len({one.alert_id for one in made}) == 300
    assert [one.mjd for one in made] == sorted(one.mjd for one in made)
    for number, chunk in enumerate(chunks):
        assert all(4 * number <= one.mjd - campaign.start_mjd < 4 * number + 4 for one in chunk)
    lives: defaultdict[str, set[int]] = defaultdict(set)
    things: defaultdict[str, set[float]] = defaultdict(set)
    for number, chunk in enumerate(chunks):
        for one in chunk:
            lives[one.object_id].add(number)
            things[one.object_id].add(one.truth["ebv"])
    assert sum(len(found) > 1 for found in lives.values()) > 20
    assert all(len(found) == 1 for found in things.values())
    whole = list(Campaign(survey, **options | {"chunk_alerts": 300}).alerts())
    assert wire(made) == wire(whole)
    assert [one.truth for one in made] == [one.truth for one in whole]
    assert wire(list(campaign.chunk(3))) == wire(chunks[3])


def test_blocks_are_looked_at_again_or_kept_and_things_made_anew_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = wire(list(Campaign("lsst", **LONG | {"number": 150}).alerts()))
    seen: list[int] = []
    block = Sky.block
    monkeypatch.setattr("fink_broker.skysim.census.AT_ONCE", 10)
    monkeypatch.setattr(Sky, "block", lambda self, index, size: [seen.append(index), block(self, index, size)][1])
    monkeypatch.setattr(Shelf.__init__, "__defaults__", (1,))
    assert wire(list(Campaign("lsst", **LONG | {"number": 150}).alerts())) == whole
    assert seen == [0, 0, 0, 0]  # counted, and once for each chunk


def test_what_is_due_last_goes_first() -> None:
    campaign = Campaign("ztf", 40, models="built-in", mix={"rr_lyrae": 1.0})
    span = campaign.census().span(*campaign.span(0))
    assert len(span.groups) == 1
    assert len(Census(campaign.sky(), 40).span(0, 1).mjd) == 0
    from fink_broker.skysim.alerts import _thing

    things = [_thing(campaign.sky(), span.groups[0], place) for place in range(3)]
    shelf = Shelf(sum(len(thing.mjd) // 8 + 20 for thing in things) - 1)
    for thing, due in zip(things, (7, 9, 8), strict=True):
        shelf.put(thing, due)
    assert [shelf.take(thing.number) is thing for thing in things] == [True, False, True]
    assert shelf.filled == 0


def test_more_things_than_a_million_have_ids_of_their_own() -> None:
    from dataclasses import replace

    from fink_broker.skysim.alerts import PACKERS, _thing
    from fink_broker.testing import newest

    for survey in ("ztf", "lsst", "elasticc"):
        campaign = Campaign(survey, 20, seed=98, models="built-in", mix={"rr_lyrae": 1.0})
        group = campaign.census().span(*campaign.span(0)).groups[0]
        packer, thing = PACKERS[survey](newest(survey), load_survey(FOLDER, survey), 98), _thing(campaign.sky(), group, 0)
        many = [replace(thing, number=thing.number + number, records={}) for number in (0, 1, 64_000_000, 10**6, 2 * 10**6, 10**7)]
        found = [packer.pack(one, one.detections[-1]) for one in many]
        assert len({alert_id for _, alert_id, _ in found}) == len({object_id for *_, object_id in found}) == len(many)
        assert all(encode(survey, packet) for packet, *_ in found)


def sent(packets: Any) -> dict[str, list[tuple[int | None, str, bytes]]]:
    found: dict[str, list[tuple[int | None, str, bytes]]] = {"ztf": [], "elasticc": []}
    for packet in packets:
        found[packet.survey].append((packet.chunk, packet.alert_id, packet.value))
    return found


def test_a_campaign_is_taken_up_again_after_any_chunk(tmp_path: Path) -> None:
    surveys, whole, parts = ["ztf", "elasticc"], tmp_path / "whole", tmp_path / "parts.parquet"
    packets = sent(make_sky_packets(surveys, FOLDER, LONG, whole))
    assert {chunk for chunk, *_ in packets["ztf"]} == set(range(6))
    stream = make_sky_packets(surveys, FOLDER, LONG, parts)
    before = []
    for packet in stream:
        before.append(packet.alert_id)
        if packet.survey == "ztf" and packet.chunk == 3:
            break
    first = sent(make_sky_packets(surveys, FOLDER, LONG))
    assert first == packets
    assert before[-1] == next(alert_id for chunk, alert_id, _ in packets["ztf"] if chunk == 3)
    del stream
    assert (parts / "ztf-00003-stopped.parquet").exists()
    assert set(before) <= set(pd.read_parquet(parts)["alert_id"])
    for survey in surveys:
        again = sent(make_sky_packets([survey], FOLDER, LONG | {"number": 300, "first_chunk": 2}, parts))[survey]
        assert again == [packet for packet in packets[survey] if packet[0] is not None and packet[0] >= 2]
    assert {file.name: file.read_bytes() for file in whole.iterdir()} == {file.name: file.read_bytes() for file in parts.iterdir()}
    truth = pd.read_parquet(parts)
    assert sorted(truth["alert_id"]) == sorted(alert_id for found in packets.values() for _, alert_id, _ in found)
    assert (pd.read_parquet(parts / "ztf-00004.parquet")["alert_id"] == [alert_id for chunk, alert_id, _ in packets["ztf"] if chunk == 4]).all()


def test_a_kill_leaves_the_truth_of_whole_chunks(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from fink_broker.simulate import make_sky_packets
from fink_broker.skysim import truth
truth.ROWS = 5  # in a row group, so that the file of the chunk has begun
for packet in make_sky_packets(["ztf"], Path({str(FOLDER)!r}), {LONG | {"number": 300}!r}, Path({str(tmp_path / "truth")!r})):
    print(packet.chunk, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reached = next(line for line in process.stdout if line == "3\n")
        process.send_signal(signal.SIGKILL)
    assert (reached, process.returncode) == ("3\n", -signal.SIGKILL)
    campaign = Campaign("ztf", **LONG | {"number": 300})
    files = sorted(file.name for file in (tmp_path / "truth").glob("[!.]*.parquet"))
    assert files[:3] == ["ztf-00000.parquet", "ztf-00001.parquet", "ztf-00002.parquet"]
    expected = [one.alert_id for one in campaign.alerts() if one.mjd < campaign.span(len(files) - 1)[1]]
    assert list(pd.read_parquet(tmp_path / "truth")["alert_id"]) == expected


def test_a_folder_of_another_campaign_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "truth"
    make_sky_packets(["ztf"], FOLDER, LONG, folder)
    with pytest.raises(ConfigError, match="holds the truth of another campaign of ztf: .*; give another folder"):
        make_sky_packets(["ztf"], FOLDER, LONG | {"seed": 8}, folder)
    with pytest.raises(ConfigError, match="is a folder; the truth of a campaign of one chunk is a file"):
        make_sky_packets(["ztf"], FOLDER, LONG | {"chunk_alerts": 1000}, folder)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="is a file; the truth of a campaign of several chunks is a folder"):
        make_sky_packets(["ztf"], FOLDER, LONG, file)


def test_packets_of_one_chunk_have_no_number(tmp_path: Path) -> None:
    found: list[Packet] = list(islice(make_sky_packets(["ztf"], FOLDER, {"number": 20, "models": "built-in"}), 5))
    assert {packet.chunk for packet in found} == {None}


def test_the_command_tells_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def send(settings: Any, packets: Any, tell: Any, **more: Any) -> None:
        tell({"event": "chunk sent", "survey": "lsst", "chunk": 7, "first_chunk": 9})

    monkeypatch.setattr("fink_broker.simulate.send", send)
    monkeypatch.setenv("FINK_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    if not app.registered_commands:
        mount()
    run = ["--home", str(tmp_path), "simulate", "--sky", "--nights", "365", "--truth", str(tmp_path / "truth")]
    both = CliRunner().invoke(
        app, [*run, "--survey", "ztf", "--survey", "lsst", "--number", "20000000", "--night", "2026-02-03", "--models", "built-in"], catch_exceptions=False
    )
    assert "ztf: 122 chunks of 3 nights from 2026-02-03 on, first chunk 0; all things are looked at before the first alert" in both.output
    options = "--survey lsst --number 10000000 --night 2026-02-03 --models built-in --first-chunk 9"
    assert f"chunk sent: survey lsst, chunk 7, first chunk 9, to go on {options}\n" in both.output
    again = CliRunner().invoke(app, [*run, *options.split()], catch_exceptions=False)
    assert "lsst: 122 chunks of 3 nights from 2026-02-03 on, first chunk 9" in again.output
    assert f"to go on {options}\n" in again.output
