"""`fink simulate`: replays alert files or makes alerts up, into the survey's Kafka topic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fink_broker.cli.common import MODELS, settings_from, with_options

MADE_UP = 1000  # alerts when nobody says how many


def simulate(
    context: typer.Context,
    alerts: Annotated[list[Path] | None, typer.Argument(help="Avro files, folders or tars; none: made-up alerts")] = None,
    survey: Annotated[list[str] | None, typer.Option(help="survey, may be repeated")] = None,
    number: Annotated[int | None, typer.Option(help=f"most alerts to send (made-up alerts: default {MADE_UP})", min=1)] = None,
    rate: Annotated[float | None, typer.Option(help="alerts per second (default: as fast as possible)")] = None,
    alerts_per_observation: Annotated[int | None, typer.Option(help="send visit by visit, so many alerts each")] = None,
    observations: Annotated[int, typer.Option(help="number of visits, -1 for all")] = -1,
    interval: Annotated[float, typer.Option(help="time between the starts of visits [s], aligned to the clock")] = 5.0,
    loop: Annotated[bool, typer.Option("--loop", help="without end: files again and again, made-up alerts ever new")] = False,
    topic: Annotated[str | None, typer.Option(help="Kafka topic instead of the survey's own")] = None,
    partitions: Annotated[int | None, typer.Option(help="partitions of a topic that has to be made")] = None,
    display: Annotated[str | None, typer.Option(help="field to show of the first and last alert of a visit, such as candidate.jd")] = None,
    schema: Annotated[Path | None, typer.Option(help="convert alerts of files to this schema (.avsc, .avsc.gz, or an Avro file)")] = None,
    framing: Annotated[str | None, typer.Option(help="container, confluent or bare, instead of the survey's own; re-encodes alerts of files")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="kinds of made-up alerts: supernova, variable, asteroid, microlensing, bogus")] = None,
    seed: Annotated[int, typer.Option(help="seed of made-up alerts")] = 1,
    night: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first night of made-up alerts (default: some days ago)")] = None,
    sky: Annotated[bool, typer.Option("--sky", help="alerts of the simulated sky: populations, cadence and noise as the survey's")] = False,
    nights: Annotated[int, typer.Option(help="nights that the simulated sky is watched", min=1)] = 3,
    mix: Annotated[str, typer.Option(help="kinds of the simulated sky: natural, even, or weights such as 'SN Ia=1,agn=2'")] = "natural",
    like: Annotated[
        list[Path] | None, typer.Option(help="ZTF or LSST alerts whose nights the simulated sky has, instead of --nights: their visits, bands and depths")
    ] = None,
    models: Annotated[str, typer.Option(help=MODELS)] = "auto",
    truth: Annotated[
        Path | None, typer.Option(help="write what the alerts of the simulated sky truly are here: a Parquet file, or a folder with one a chunk")
    ] = None,
    first_chunk: Annotated[int, typer.Option(help="take up the simulated sky again at this chunk of nights (some 100,000 alerts)", min=0)] = 0,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="print events as JSON")] = False,
) -> None:
    """Send alerts in time order, keyed by object."""
    from fink_broker import simulate as simulation
    from fink_broker.errors import ConfigError
    from fink_broker.skysim.population import mix_of
    from fink_broker.skysim.templates import lacking, resolved

    display = display.replace(",", ".") if display else None
    settings = with_options(settings_from(context), kafka={"topic_partitions": partitions})

    resume: dict[str, str] = {}  # options that name a survey's campaign

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "chunk sent":
            event |= {"to_go_on": f"{resume[event['survey']]} --first-chunk {event['first_chunk']}"}
        typer.echo(simulation.as_json(event) if json_lines else simulation.as_line(event))

    def note(text: str) -> None:
        typer.echo(simulation.as_json({"event": "note", "text": text}) if json_lines else text, err=not json_lines)

    rhythm = simulation.Rhythm(rate, alerts_per_observation, observations, interval)
    surveys = list(dict.fromkeys(survey or settings.broker.surveys))
    packets: Any
    if like and (alerts or not sky or night or first_chunk or surveys not in (["ztf"], ["lsst"])):
        raise ConfigError("--like gives the simulated sky nights of real alerts; add --sky --survey ztf (or lsst); leave files, --night, --first-chunk out")
    if alerts:
        spool = _read(settings, alerts, survey, display, schema, framing, note)
        packets, available, surveys = (simulation.repeated(spool) if loop else spool), None if loop else len(spool), list(spool.surveys)
        if display and not any(_shown(packet.display, display) for packet in spool):
            note(f"no alert has a field {display}; None is shown; give a path such as candidate.jd or diaSource.midpointMjdTai")
    else:
        if schema or framing:
            raise ConfigError("--schema and --framing are for alerts of files; give some, or leave the option out")
        available = None if loop else number or (alerts_per_observation or 0) * max(observations, 0) or MADE_UP
        if sky and (loop or kind):
            raise ConfigError("--sky has an end and kinds of its own; give --number instead of --loop, --mix instead of --kind")
        if first_chunk and not (sky and night and len(surveys) == 1):
            raise ConfigError("--first-chunk goes on with the --sky campaign of one --survey, its own --number and first --night: as the line of a chunk says")
        if sky and models == "auto" and (missing := lacking()):
            note(missing)
        start = night.toordinal() - simulation.MJD_ORDINAL if night else simulation.recent_mjd()
        if sky:
            asked = {"number": available, "seed": seed, "start_mjd": start, "nights": nights, "mix": mix_of(mix), "models": resolved(models),
                     "first_chunk": first_chunk, "plan": _plan(like, surveys[0], seed) if like else None}  # fmt: skip
            packets = simulation.make_sky_packets(surveys, settings.schemas_path, asked, truth)
            resume |= _resume(surveys, settings.schemas_path, asked, note)
        else:
            packets = simulation.make_packets(surveys, settings.schemas_path, available, seed, kind, start)
    what = "simulated sky" if sky else "made up"
    plan = simulation.plan(available, number, rhythm)
    tell({"event": "simulation", "kafka": settings.bootstrap_servers, "surveys": ",".join(surveys), "alerts": ",".join(map(str, alerts or ())) or what,
          "available": "without end" if available is None else available, "to_send": "without end" if plan.to_send is None else plan.to_send,
          "first_chunk": first_chunk or None, "rate": rate or "as fast as possible", "alerts_per_observation": alerts_per_observation,
          "observations": plan.observations,
          "interval_seconds": interval if alerts_per_observation else None, "seed": None if alerts else seed,
          "partitions": settings.kafka.topic_partitions})  # fmt: skip
    for text in plan.notes:
        note(text)
    chosen = dict.fromkeys(_names(settings), topic) if topic else None
    simulation.send(settings, packets, number=plan.to_send, rhythm=rhythm, topics=chosen, display=display, tell=tell)


def _resume(surveys: list[str], schemas: Path, asked: dict[str, Any], note: Callable[[str], None]) -> dict[str, str]:
    """By survey, the options with which its campaign can be taken up again; says how it is cut."""
    from fink_broker.simulate import MJD_ORDINAL
    from fink_broker.skysim.stream import planned

    night = date.fromordinal(int(asked["start_mjd"]) + MJD_ORDINAL)
    campaigns = [one for one in planned(surveys, schemas, asked) if one.chunks > 1]
    for one in campaigns:
        cut = f"{one.chunks} chunks of {one.chunk_nights} nights from {night} on, first chunk {one.first_chunk}"
        note(f"{one.survey}: {cut}; all things are looked at before the first alert")
    return {one.survey: f"--survey {one.survey} --number {one.number} --night {night} --models {one.models}" for one in campaigns}


def _plan(like: list[Path], survey: str, seed: int) -> Any:
    """The visits that real alerts tell of."""
    from fink_broker.skysim.observatory import observatory
    from fink_broker.skysim.realism import real
    from fink_broker.skysim.visits import visited

    return visited(observatory(survey), real(like, survey), seed)


def _read(settings: Any, alerts: list[Path], survey: list[str] | None, display: str | None, schema: Path | None, framing: Any, note: Any) -> Any:
    from fink_broker.errors import ConfigError
    from fink_broker.replay import Reader, load_target

    if framing not in (None, "container", "confluent", "bare"):
        raise ConfigError(f"framing is '{framing}'; expected container, confluent or bare")
    target = load_target(schema, settings.schemas_path) if schema else None
    return Reader(settings.schemas_path, note, display=display, target=target, framing=framing).read(alerts, survey)


def _shown(record: Any, display: str) -> bool:
    from fink_broker.replay import dig

    return dig(record, display) is not None


def _names(settings: Any) -> list[str]:
    """Names of all surveys."""
    from fink_broker.survey import load_surveys

    return list(load_surveys(settings.schemas_path))
