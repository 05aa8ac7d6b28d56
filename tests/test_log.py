"""Logs are events with fields."""

import json

import pytest

from fink_broker.log import Logger, bound, setup


def test_an_event_is_one_json_line_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO")
    with bound(job="live", batch=3):
        Logger("test").info("batch done", rows_in=7)
    Logger("test").debug("not shown")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["job"], line["batch"], line["rows_in"], line["level"]) == ("batch done", "live", 3, 7, "info")
