"""The arguments of a request."""

from __future__ import annotations

import pytest
from astropy.time import Time

from fink_broker.errors import ConfigError
from fink_broker.web.asked import Asked


@pytest.mark.parametrize("text", ["2023-02-25", "2023-02-25 06:00:00", "2023-02-25T06:00:00.5", "2023-02-25T06:00:00+02:00"])
def test_a_date_is_utc(text: str) -> None:
    expected = Time(text.replace("+02:00", "").replace("06", "04") if "+" in text else text, scale="utc").tai.mjd
    assert Asked({"startdate": text}).time("startdate") == pytest.approx(expected, abs=1e-9)


def test_numbers_are_mjd_tai_or_jd_utc() -> None:
    assert Asked({"startdate": "60000.5"}).time("startdate") == 60000.5
    assert Asked({"startdate": 2460001.0}).time("startdate") == pytest.approx(Time(2460001.0, format="jd", scale="utc").tai.mjd, abs=1e-9)
    assert Asked({}).time("startdate") is None


def test_lists_of_a_json_body_are_comma_lists() -> None:
    assert Asked({"columns": ["a", "b"]}).text("columns") == "a,b"


@pytest.mark.parametrize(("value", "text"), [("x", "expected a number"), ("inf", "expected a number"), (None, "is missing"), (True, "expected a number")])
def test_numbers_that_are_none(value: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Asked({"ra": value}).number("ra")


@pytest.mark.parametrize("value", ["2.5", "0", "11"])
def test_counts_have_limits(value: str) -> None:
    with pytest.raises(ConfigError, match="expected a whole number from 1 to 10"):
        Asked({"limit": value}).count("limit", 5, 10)
