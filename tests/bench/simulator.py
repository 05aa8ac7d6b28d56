"""How fast the simulated sky is made on one core: `python -m tests.bench.simulator [--number N] [--year]` prints a line a survey.

Seconds are CPU time of the process (`time.process_time`), the mix is the natural one, spectra are those of sncosmo where they are. With `--year` of a campaign
of ten million alerts in 365 nights: the count before its first alert, one look at all things as each chunk takes it, and packets of one chunk.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

from fink_broker.settings import data_folder
from fink_broker.skysim import light_curves
from fink_broker.skysim.alerts import Campaign
from fink_broker.survey import load_survey
from fink_broker.testing import MadeAlert, encode

SURVEYS = ("ztf", "lsst", "elasticc")
YEAR, NIGHTS = 10_000_000, 365


def made(survey: str, alerts: Sequence[MadeAlert] | islice[MadeAlert]) -> tuple[int, int]:
    """Makes and encodes alerts: how many, and their bytes."""
    about = load_survey(data_folder("schemas"), survey)
    sizes = [len(encode(about, one.packet)) for one in alerts]
    return len(sizes), sum(sizes)


def short(survey: str, number: int, chunk: int) -> str:
    """Light curves of so many things, and packets of so many alerts of three nights."""
    light_curves(100, survey)
    start = time.process_time()
    light_curves(number, survey)
    curves = number / (time.process_time() - start)
    stream = Campaign(survey, number).alerts()
    next(stream)
    start = time.process_time()
    packets, size = made(survey, islice(stream, number))
    return f"{survey}: {curves:,.0f} light curves/s, {packets / (time.process_time() - start):,.0f} packets/s of {size / packets / 1000:.0f} kB{_memory()}"


def year(survey: str, number: int, chunk: int) -> str:
    """Count, look and packing of the campaign of a year; extrapolated to all chunks."""
    campaign = Campaign(survey, YEAR, nights=NIGHTS)
    start = time.process_time()
    census = campaign.census()
    count = time.process_time() - start
    start = time.process_time()
    stream = campaign.chunk(chunk, census)
    next(stream)
    look = time.process_time() - start
    start = time.process_time()
    packets, size = made(survey, islice(stream, number))
    rate = packets / (time.process_time() - start)
    share = look * campaign.chunks / (YEAR / rate)
    return (
        f"{survey}, {YEAR:,} alerts of {NIGHTS} nights: {campaign.chunks} chunks of {campaign.chunk_nights} nights, count {count:.0f} s, look {look:.0f} s, "
        f"{rate:,.0f} packets/s of {size / packets / 1000:.0f} kB ({packets:,}): all looks are {100 * share:.0f} % of the packing{_memory()}"
    )


def _memory() -> str:
    return f"; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB at most, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Print a line for each survey, each measured in a process of its own."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("surveys", nargs="*", default=SURVEYS)
    asked.add_argument("--number", type=int, default=5000, help="things, and alerts that are packed at most")
    asked.add_argument("--year", action="store_true")
    asked.add_argument("--chunk", type=int, default=40, help="of the year, which is packed")
    given = asked.parse_args()
    for survey in given.surveys:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            print(alone.submit(year if given.year else short, survey, given.number, given.chunk).result(), flush=True)


if __name__ == "__main__":
    main()
