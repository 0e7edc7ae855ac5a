"""The table that the demonstration ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faust_s3.claim import Claim

__all__ = ["Row", "show"]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one photograph.

    Attributes:
        name: Its name, which is the record's key.
        size: Bytes sent.
        on_topic: Bytes of the record's value on the topic.
        claim: The claim on the topic, if the bytes are in S3.
        problem: What is wrong with it, or nothing.
    """

    name: str
    size: int
    on_topic: int
    claim: Claim | None
    problem: str


def show(rows: Sequence[Row]) -> None:
    """Print the table and the totals."""
    layout = "{:<26} {:>10} {:>12}  {:<44} {}"
    print()
    print(
        layout.format("record", "bytes sent", "on the topic", "where the bytes are", "same bytes")
    )
    for row in rows:
        print(
            layout.format(
                row.name,
                f"{row.size:,}",
                f"{row.on_topic:,}",
                place(row.claim),
                row.problem or "yes",
            )
        )
    offloaded = [row for row in rows if row.claim is not None]
    print()
    print(f"bytes sent       {sum(row.size for row in rows):>12,}  in {len(rows)} records")
    print(
        f"on the topic     {sum(row.on_topic for row in rows):>12,}  "
        f"{len(rows) - len(offloaded)} records inline, {len(offloaded)} offloaded"
    )
    print(f"in S3            {sum(row.size for row in offloaded):>12,}")


def place(claim: Claim | None) -> str:
    """Return where a record's bytes are, with the digest cut short."""
    if claim is None:
        return "inline"
    return f"s3://{claim.bucket}/{claim.key}".replace(
        claim.sha256.hex(), f"{claim.sha256.hex()[:8]}..."
    )
