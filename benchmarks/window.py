"""What the figures of a measurement are: one rule for all contenders.

The window opens once the warm-up is over: 1.5 s after the first record, because Faust reads 4096
messages ahead before it is as fast as it can be for long, or after a quarter of the records if that
is earlier. It closes after so many seconds, or earlier: so many records before the last one,
because behind those nothing is under way any more. Rate, CPU and stalls are of the window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["WARM_UP", "Figures", "NoWindow", "judge", "stalls"]

#: Seconds, at most.
WARM_UP: Final = 1.5


class NoWindow(Exception):
    """Too few records for a figure."""


@dataclass(frozen=True)
class Figures:
    """What one measurement found.

    Attributes:
        rate: Records per second.
        records: How many that is of.
        seconds: Length of the window.
        cpu_ms: Milliseconds of CPU per record, of the contender's processes and nobody else.
        stall_ms: How late a timer that is due at any moment fires: median, 99th percentile and
            the most, in milliseconds. None without an event loop.
        rss_mib: The most memory of one process, and how much that is above its start, which is
            before it imports its clients and connects.
    """

    rate: float
    records: int
    seconds: float
    cpu_ms: float
    stall_ms: tuple[float, float, float] | None
    rss_mib: tuple[float, float]


def judge(
    traces: Sequence[dict[str, Any]], *, records: int, margin: int, seconds: float
) -> Figures:
    """Return the figures of a measurement.

    Args:
        traces: Of each process, see `job.Trace`.
        records: How many there were to do.
        margin: Records of warm-up at least, and at the end.
        seconds: The longest window.

    Raises:
        NoWindow: If not even two records are in it.
    """
    done = sorted(moment for trace in traces for moment, _, _ in trace["done"])
    if not done:
        raise NoWindow("no record was done")
    warm = max(margin, records // 4)
    opens = min(done[min(warm, len(done)) - 1], done[0] + WARM_UP)
    closes = opens + seconds
    if len(done) >= records - margin:
        closes = min(closes, done[records - margin - 1])
    first, last = bisect_right(done, opens), bisect_right(done, closes)
    if last - first < 2:
        raise NoWindow(f"{len(done)} records were done, and {last - first} after the warm-up")
    # From the last record of the warm-up to the last one of the window.
    opens, closes = done[first - 1], done[last - 1]
    late = [
        seconds_late
        for trace in traces
        for moment, seconds_late in trace["late"]
        if moment >= opens and moment - seconds_late <= closes
    ]
    return Figures(
        rate=(last - first) / (closes - opens),
        records=last - first,
        seconds=closes - opens,
        cpu_ms=1000
        * sum(_cpu(trace["done"], closes) - _cpu(trace["done"], opens) for trace in traces)
        / (last - first),
        stall_ms=stalls(late) if late else None,
        rss_mib=_memory(traces),
    )


def stalls(late: Sequence[float], *, every: float = 0.005) -> tuple[float, float, float]:
    """Return median, 99th percentile and maximum of delays, in milliseconds.

    A timer that was 1 s late stands for all those that nobody set meanwhile, ``every`` so many
    seconds: they would have been less and less late.
    """
    delays: list[float] = []
    for delay in late:
        while delay > every:
            delays.append(delay)
            delay -= every
        delays.append(delay)
    delays.sort()
    return (
        1000 * delays[len(delays) // 2],
        1000 * delays[min(len(delays) - 1, len(delays) * 99 // 100)],
        1000 * delays[-1],
    )


def _cpu(done: Sequence[Sequence[float]], moment: float) -> float:
    """Return the CPU seconds of a process at a moment: at its last record before."""
    at = bisect_right([one[0] for one in done], moment)
    return done[max(at - 1, 0)][1] if done else 0.0


def _memory(traces: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the peak, and how much that is above the start, in MiB."""
    sizes = [[size / 2**20 for _, size in trace["rss"]] or [0.0] for trace in traces]
    return max(map(max, sizes)), max(max(one) - one[0] for one in sizes)
