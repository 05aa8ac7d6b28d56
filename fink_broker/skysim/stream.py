"""Packets of campaigns as they are sent: surveys in turn, chunk by chunk, what they truly are written beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fink_broker.errors import ConfigError
from fink_broker.simulate import encoded, in_turn, shares
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.truth import TruthFolder, TruthTable
from fink_broker.spool import Packet
from fink_broker.survey import Survey, load_survey


def planned(surveys: Sequence[str], schemas: Path, campaign: Mapping[str, Any]) -> list[Campaign]:
    """A campaign of each survey: `campaign` as Campaign takes it, `number` in all."""
    parts = shares(int(campaign["number"]), len(surveys))
    return [Campaign(name, **{**campaign, "number": part, "schemas": schemas}) for name, part in zip(surveys, parts, strict=True) if part]


def sky_packets(campaigns: Sequence[Campaign], schemas: Path, truth: Path | None = None) -> Iterator[Packet]:
    """A packet of each campaign in turn; `truth` is a Parquet file, or a folder of such when a campaign has several chunks."""
    about = {one.survey: load_survey(schemas, one.survey) for one in campaigns}
    if any(one.chunks > 1 for one in campaigns):
        folder = TruthFolder(truth, campaigns) if truth else None
        return in_turn([_chunks(one, about[one.survey], folder) for one in campaigns])
    if truth and truth.is_dir():
        raise ConfigError(f"{truth} is a folder; the truth of a campaign of one chunk is a file; give another name")
    table = TruthTable(truth) if truth else None
    return _written(in_turn([encoded(about[one.survey], one.alerts(), table.add if table else None) for one in campaigns]), table)


def _chunks(campaign: Campaign, about: Survey, truth: TruthFolder | None) -> Iterator[Packet]:
    """The packets of a campaign from its first chunk on, a table of the truth for each chunk."""
    census = campaign.census()
    for chunk in range(campaign.first_chunk, campaign.chunks):
        table = truth.table(campaign.survey, chunk) if truth else None
        yield from _written(encoded(about, campaign.chunk(chunk, census), table.add if table else None, chunk), table)


def _written(packets: Iterator[Packet], table: TruthTable | None) -> Iterator[Packet]:
    """The packets, and the table whole before the last of them goes out: whoever takes so many and no more never comes back."""
    with table or nullcontext():
        held = next(packets, None)
        for packet in packets:
            if held:
                yield held
            held = packet
    if held:
        yield held
