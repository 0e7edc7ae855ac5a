"""Windowed aggregation: the hottest reading of each minute, and the notes of each two."""

from __future__ import annotations

from typing import Any

import faust
from examples_settings import NAME, SETTINGS, THRESHOLD

from faust_s3 import S3

app = faust.App(**SETTINGS)
s3 = S3(app, threshold=THRESHOLD)


class Reading(faust.Record):
    sensor: str
    celsius: float
    at: float
    notes: str


readings = app.topic(f"{NAME}-readings", value_type=Reading, value_serializer="json|s3")
reports = app.topic(f"{NAME}-reports", value_serializer="json|s3")

hottest = (
    app.Table("hottest", value_type=Reading, value_serializer="json|s3")
    .tumbling(60.0, expires=3600.0)
    .relative_to_field(Reading.at)
)
counts = app.Table("counts", default=int).hopping(120.0, 60.0, expires=3600.0).relative_to_stream()
notes = (
    app.Table("notes", default=str, value_serializer="json|s3")
    .hopping(120.0, 60.0, expires=3600.0)
    .relative_to_stream()
)


def windows_of(sensor: str, windowed: Any) -> list[Any]:
    return [[*window, value] for (name, window), value in windowed.table.items() if name == sensor]


@app.agent(readings)
async def aggregate(stream: Any) -> None:
    async for reading in stream:
        sensor = reading.sensor
        if sensor not in hottest or reading.celsius > hottest[sensor].value().celsius:
            hottest[sensor] = reading
        counts[sensor] += 1
        notes[sensor] += f"{reading.notes}; "
        report = {
            "hottest": windows_of(sensor, hottest),
            "counts": windows_of(sensor, counts),
            "notes": windows_of(sensor, notes),
        }
        await reports.send(key=sensor, value={"sensor": sensor, **report})


if __name__ == "__main__":
    app.main()
