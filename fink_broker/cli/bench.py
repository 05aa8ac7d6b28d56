"""`fink bench`: how fast the whole broker is on this machine."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fink_broker.cli.common import settings_from, with_options


def bench(
    context: typer.Context,
    survey: Annotated[str, typer.Option(help="survey whose alerts are made up")] = "ztf",
    alerts: Annotated[int, typer.Option(help="alerts of the backlog that is drained; 0: none")] = 5000,
    history: Annotated[int, typer.Option(help="alerts that HBase holds before (copies of the first ones under other names)")] = 20_000,
    filters: Annotated[int, typer.Option(help="filters, all different")] = 25,
    rate: Annotated[float | None, typer.Option(help="then hold this many alerts a second")] = None,
    seconds: Annotated[float, typer.Option(help="for so long [s]")] = 60.0,
    warm: Annotated[int, typer.Option(help="alerts sent before anything is measured; the JVM compiles until then")] = 20_000,
    stages: Annotated[bool, typer.Option("--stages", help="print every batch")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the result here")] = None,
) -> None:
    """Start services and jobs of its own, load history, drain a backlog, hold a rate, and say what it cost."""
    from fink_broker import bench as benchmark
    from fink_broker.demo import write_json

    home = Path(tempfile.mkdtemp(prefix="fink-bench-"))
    folder = benchmark.write_filters(home / "filters", filters, survey)
    settings = with_options(settings_from(context), broker={"home": str(home)}, filters={"path": str(folder)})
    os.environ["FINK_FILTERS__PATH"] = str(folder)  # for the jobs, which are processes of their own
    run = benchmark.Run(settings, survey, filters, lambda text: typer.echo(text, err=True))
    found: dict[str, Any] = {"machine": benchmark.machine()}
    try:
        run.up(warm)
        held = run.fill(history) if history else 0
        typer.echo(f"warm; HBase holds {held:,} alerts more", err=True)
        if alerts:
            found |= benchmark.measure(run, alerts, history=held).as_dict()
            typer.echo(_table("backlog", found, stages))
        if rate:
            at_rate = benchmark.measure(run, int(rate * seconds), rate, history=held).as_dict()
            typer.echo(_table(f"{rate:g}/s for {seconds:g} s", at_rate, stages))
            found = {**(found if alerts else at_rate), "delay_s": at_rate["delay_s"], "at_rate": at_rate}
    finally:
        run.down()
        shutil.rmtree(home, ignore_errors=True)
    if json_file:
        write_json(found, json_file)


def _table(title: str, found: dict[str, Any], stages: bool) -> str:
    sent = f"{found['published']} messages; packets of {found['packet_bytes'] / 1000:.0f} kB"
    lines = [f"{title}: {found['alerts']} alerts in {found['seconds']:.1f} s, {found['alerts_per_s']:.0f}/s, {sent}"]
    lines.append(f"  delay [s]          {found['delay_s']}")
    for name in ("cpu_ms_per_alert", "memory_mb", "bytes_per_alert", "machine"):
        lines.append(f"  {name:<18} {json.dumps(found[name])}")
    for name, facts in found["stages"].items():
        lines.append(f"  {name:<18} median {facts['median_s']:.2f} s a batch, {facts['ms_per_alert']:.2f} ms an alert")
    if stages:
        lines += [f"    {json.dumps(batch)}" for batch in found["batches"]]
    return "\n".join(lines)
