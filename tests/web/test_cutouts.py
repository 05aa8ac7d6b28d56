"""Cutouts: found in the lake, unpacked, drawn."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from fink_broker import retention
from fink_broker.compact import TABLES, Compactor
from fink_broker.errors import NotFound
from fink_broker.lake import Lake
from fink_broker.settings import load
from fink_broker.survey import load_surveys
from fink_broker.web import cutouts
from tests.stored_alerts import stored
from tests.web.conftest import fits_bytes, image, write_night


def decoded(png: bytes) -> np.ndarray[Any, Any]:
    """Pixels of a PNG as we write it: no filter, eight bits, four channels."""
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    length = int.from_bytes(png[33:37])
    rows = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(height, 1 + 4 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(load(options={"lake": {"path": str(tmp_path)}}))
    write_night(tmp_path, "ztf", 20230226, "batch7-0.parquet", [0, 1, 2, 3, 4])
    write_night(tmp_path, "ztf", 20230226, "other-0.parquet", [8, 9])
    return found


@pytest.mark.parametrize(("number", "files"), [(4, "20230226|batch7"), (9, "20230226|batch7"), (0, "20230226|"), (8, "20230226")])
def test_an_alert_is_found_in_its_batch_or_its_night(lake: Lake, number: int, files: str) -> None:
    survey = load_surveys(load().schemas_path)["ztf"]
    found = cutouts.Cutouts(lake).of(survey, stored(number)["alert_id"], files)
    assert set(found) == {"science", "template", "difference"}
    assert np.array_equal(cutouts.pixels(found["science"]), image(number), equal_nan=True)


def test_an_alert_is_found_in_a_night_that_was_merged(lake: Lake) -> None:
    settings, survey = load(options={"lake": {"path": str(lake.path), "min_free_gb": 0}}), load_surveys(load().schemas_path)["ztf"]
    (done,) = Compactor(settings, grace_seconds=0).run(retention.nights(settings, TABLES))
    assert (done.before, done.after) == (2, 1)
    for number in (4, 9):
        found = cutouts.fetch(lake, survey, stored(number)["alert_id"], "20230226|batch7")
        assert np.array_equal(cutouts.pixels(found["science"]), image(number), equal_nan=True)


def test_files_that_vanish_are_looked_for_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    survey, real, calls = load_surveys(load().schemas_path)["ztf"], cutouts._in_file, list[Path]()

    def gone(file: Path, *given: Any) -> Any:
        calls.append(file)
        if len(calls) < 3:
            raise FileNotFoundError(file)
        return real(file, *given)

    monkeypatch.setattr(cutouts, "_in_file", gone)
    assert set(cutouts.fetch(lake, survey, stored(4)["alert_id"], "20230226|batch7")) == {"science", "template", "difference"}
    monkeypatch.setattr(cutouts, "_in_file", lambda *given: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(NotFound, match="the files of night 20230226 are being replaced; try again in a minute"):
        cutouts.fetch(lake, survey, stored(4)["alert_id"], "20230226|batch7")


def test_an_alert_that_is_not_stored_yet(lake: Lake) -> None:
    survey = load_surveys(load().schemas_path)["ztf"]
    with pytest.raises(NotFound, match="it is not in night 20230226 of the lake; the batch may not be stored yet, try again in a minute"):
        cutouts.Cutouts(lake).of(survey, "77", "20230226|batch7")


def test_the_last_ones_stay_at_hand(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    survey, kept = load_surveys(load().schemas_path)["ztf"], cutouts.Cutouts(lake)
    monkeypatch.setattr(cutouts, "KEPT", 2)
    for number in (0, 1, 2):
        kept.of(survey, stored(number)["alert_id"], "20230226|batch7")
    for file in lake.table("science").rglob("*.parquet"):
        file.unlink()
    assert kept.of(survey, stored(2)["alert_id"], "20230226|batch7")
    with pytest.raises(NotFound):
        kept.of(survey, stored(0)["alert_id"], "20230226|batch7")


def test_a_survey_without_cutouts(lake: Lake) -> None:
    survey = replace(load_surveys(load().schemas_path)["ztf"], cutout_paths={})
    assert cutouts.Cutouts(lake).of(survey, "1", "20230226|x") == {}


def test_the_image_may_stand_behind_an_empty_header() -> None:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image(1)), fits.ImageHDU(image(2))]).writeto(stream)
    assert cutouts.pixels(stream.getvalue())[1, 1] == 106


@pytest.mark.parametrize(("content", "text"), [(b"no FITS at all", "not readable as FITS"), (None, "holds no image")])
def test_what_holds_no_image(content: bytes | None, text: str) -> None:
    if content is None:
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU()]).writeto(stream)
        content = stream.getvalue()
    with pytest.raises(NotFound, match=text):
        cutouts.pixels(content)


@pytest.mark.parametrize("stretch", cutouts.STRETCHES)
def test_every_stretch_goes_from_dark_to_bright(stretch: cutouts.Stretch) -> None:
    drawn = decoded(cutouts.png(np.arange(100.0).reshape(10, 10), stretch, 0, 100))
    line = drawn[::-1, :, 0].ravel().astype(int)  # rows from the bottom up, as in FITS
    assert (np.diff(line) >= 0).all()
    assert line[0] <= 5
    assert line[-1] >= 250


def test_what_has_no_value_is_transparent_and_pixels_grow() -> None:
    drawn = decoded(cutouts.png(cutouts.pixels(fits_bytes(image(0))), scale=3))
    assert drawn.shape == (15, 15, 4)
    assert (drawn[-3:, :3, 3] == 0).all()  # the first pixel is at the lower left
    assert drawn[..., 3].mean() == pytest.approx(255 * 24 / 25)


@pytest.mark.parametrize("colormap", cutouts.COLORMAPS)
def test_every_colormap_ends_in_its_colours(colormap: str) -> None:
    drawn = decoded(cutouts.png(np.arange(4.0).reshape(2, 2), "linear", 0, 100, colormap=colormap))
    codes = cutouts.COLORMAPS[colormap]
    assert bytes(drawn[1, 0, :3]).hex() == codes[0]
    assert bytes(drawn[0, 1, :3]).hex() == codes[-1]


@pytest.mark.parametrize("flat", [np.full((4, 4), 7.0), np.full((4, 4), np.nan)])
def test_an_image_without_contrast(flat: np.ndarray[Any, Any]) -> None:
    assert decoded(cutouts.png(flat)).shape == (4, 4, 4)
