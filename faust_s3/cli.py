"""``faust -A app s3-replay``: puts dead letters back on their topics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any, NoReturn

import click
from aiokafka.errors import KafkaError
from faust.cli.base import AppCommand, option
from faust.exceptions import ProducerSendError

from faust_s3 import exceptions
from faust_s3.connection import reader
from faust_s3.disposal import dead_letter_topic
from faust_s3.exceptions import PermanentError, S3Error
from faust_s3.extension import S3
from faust_s3.replay import DeadLetters, Found, Selection

__all__ = ["s3_replay"]

_ERRORS = sorted(
    name
    for name in exceptions.__all__
    if issubclass(getattr(exceptions, name), PermanentError) and name != "PermanentError"
)
_HEADERS = ("place", "topic", "partition", "offset", "at", "error", "replayed", "reason")


class _Time(click.ParamType):
    """A moment, in UTC unless it says otherwise."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read ISO 8601."""
        try:
            # datetime reads no "Z" before Python 3.11.
            moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        except ValueError:
            self.fail(f"{value!r} must be like 2026-11-25 or 2026-11-25T10:30:00", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class s3_replay(AppCommand):
    """Put dead letters back on the topics that they come from.

    Each is put back once, with its key, value, headers, partition and timestamp. Mend what was
    wrong first: a record whose claim still cannot be redeemed becomes another dead letter.
    """

    options = [  # noqa: RUF012 - as Faust has it
        option("--topic", help="Only records of this topic."),
        option("--partition", type=click.IntRange(min=0), help="Only of this partition."),
        option("--offset", type=click.IntRange(min=0), help="Only the record of this offset."),
        option("--error", type=click.Choice(_ERRORS), help="Only with this error."),
        option("--since", type=_Time(), help="Only dead letters since this time, in UTC."),
        option("--dry-run", is_flag=True, help="List them, and change nothing."),
        option("--again", is_flag=True, help="Also those that were put back before."),
    ]

    def __init__(self, ctx: click.Context, *args: Any, **kwargs: Any) -> None:
        super().__init__(ctx, *args, **kwargs)
        self._failed = False
        app: Any = self.app
        self._stores = [child for child in app._children if isinstance(child, S3)]
        if not self._stores:
            raise self.UsageError(f"the app {app.conf.id!r} has no S3(app)")
        for name, needed in (("offset", "partition"), ("partition", "topic")):
            if kwargs.get(name) is not None and kwargs.get(needed) is None:
                raise self.UsageError(f"--{name} needs --{needed}")

    async def run(self, *, dry_run: bool, again: bool, **chosen: Any) -> None:
        """List dead letters, or put them back."""
        try:
            await self._run(Selection(**chosen), dry_run=dry_run, again=again)
        except (S3Error, KafkaError, ProducerSendError) as exc:
            self._failed = True
            self.say(f"Error: {exc}", file=self.stderr)
        finally:
            for s3 in self._stores:
                await s3.close()

    async def _run(self, selection: Selection, *, dry_run: bool, again: bool) -> None:
        app: Any = self.app
        hub = self._stores[0]._hub
        topic = dead_letter_topic(hub)
        consumer = reader(app)
        try:
            await consumer.start()
            letters = DeadLetters(hub, topic, consumer)
            listed = await letters.listed(selection)
            due = [each for each in listed if again or not each.replayed]
            if dry_run:
                self._show(listed if self.json else due, "no dead letters to put back")
                return
            await app.maybe_start_producer()
            done: list[Found] = []
            try:
                async with aclosing(letters.replayed(due)) as replayed:
                    async for each in replayed:
                        done.append(each)
            finally:
                if self.json:
                    self._show(done, "")
                else:
                    self.say(_summary(topic, listed, due, done))
        finally:
            await consumer.stop()

    def _show(self, letters: Sequence[Found], otherwise: str) -> None:
        rows = [_row(each) for each in letters]
        if rows or self.json:
            self.say(self.tabulate(rows, headers=_HEADERS, title="Dead letters"))
        else:
            self.say(otherwise)

    def run_using_worker(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run, and tell the shell whether it failed."""
        try:
            super().run_using_worker(*args, **kwargs)
        except SystemExit as exc:
            raise SystemExit(int(self._failed) or exc.code) from None


def _summary(topic: str, listed: list[Found], due: list[Found], done: list[Found]) -> str:
    text = f"put back {len(done)} of {len(due)} dead letters on {topic}"
    before = len(listed) - len(due)
    return f"{text}; {before} were put back before" if before else text


def _row(each: Found) -> tuple[Any, ...]:
    letter = each.letter
    return (
        f"{each.place.partition}@{each.offset}",
        letter.topic,
        letter.partition,
        letter.offset,
        letter.at.isoformat(timespec="seconds"),
        letter.error,
        each.replayed,
        letter.reason,
    )
