"""Counting what a process has written."""

from pipelines.embed.meter import Meter


def test_meter_is_emptied_by_taking() -> None:
    meter = Meter()
    meter.add(documents=1, tokens=2, rejects=3)
    assert meter.take() == {"documents": 1, "tokens": 2, "rejects": 3}
    assert meter.take() == {"documents": 0, "tokens": 0, "rejects": 0}
