"""What a run found: kept as JSON, shown as tables with medians and ratios."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import CONTENDERS, FLOORS, OURS, Plan
from benchmarks.records import SMALL
from benchmarks.running import Result

__all__ = ["Summary", "goals", "machine", "markdown", "save", "summaries"]


@dataclass(frozen=True)
class Summary:
    """The rounds of a contender in a case; each figure is their median.

    Attributes:
        rate: Records per second.
        lowest: Of the rounds.
        highest: Of the rounds.
    """

    case: str
    contender: str
    rounds: int
    rate: float
    lowest: float
    highest: float
    cpu_ms: float
    stall_ms: tuple[float, float, float] | None
    rss_mib: tuple[float, float]


def summaries(results: Iterable[Result]) -> dict[str, dict[str, Summary]]:
    """Return medians by case and contender, in the order of the run."""
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        found.setdefault(result.case, {}).setdefault(result.contender, []).append(result)
    return {
        case: {
            name: _summary(case, name, rounds)
            for name in CONTENDERS
            if (rounds := by_name.get(name))
        }
        for case, by_name in found.items()
    }


def _summary(case: str, name: str, rounds: Sequence[Result]) -> Summary:
    figures = [result.figures for result in rounds]
    rates = [one.rate for one in figures]
    stalls = [one.stall_ms for one in figures if one.stall_ms is not None]
    return Summary(
        case=case,
        contender=name,
        rounds=len(rounds),
        rate=median(rates),
        lowest=min(rates),
        highest=max(rates),
        cpu_ms=median(one.cpu_ms for one in figures),
        stall_ms=(
            median(one[0] for one in stalls),
            median(one[1] for one in stalls),
            median(one[2] for one in stalls),
        )
        if stalls
        else None,
        rss_mib=(
            median(one.rss_mib[0] for one in figures),
            median(one.rss_mib[1] for one in figures),
        ),
    )


def floor_of(name: str) -> str:
    """Return the bare client of a contender's engine."""
    return FLOORS[OURS.index(name)]


def markdown(found: dict[str, dict[str, Summary]]) -> str:
    """Return a table of all cases, with the ratio to the bare client of the same engine."""
    lines = [
        "| case | contender | records/s, median (lowest to highest) | of the bare client | CPU, "
        "ms per record | event loop late, ms: p50, p99, max | memory, MiB: peak, rise |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, by_name in found.items():
        for name, one in by_name.items():
            floor = by_name.get(floor_of(name)) if name in OURS else None
            ratio = f"{one.rate / floor.rate:.2f}" if floor else ""
            late = ", ".join(f"{value:.1f}" for value in one.stall_ms) if one.stall_ms else ""
            lines.append(
                f"| {case} | {CONTENDERS[name].label} | {one.rate:.1f} ({one.lowest:.1f} to "
                f"{one.highest:.1f}) of {one.rounds} | {ratio} | {one.cpu_ms:.2f} | {late} | "
                f"{one.rss_mib[0]:.0f}, {one.rss_mib[1]:.0f} |"
            )
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Say what it ran on."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        **{
            name: version(name)
            for name in ("faust-s3", "faust-streaming", "aiokafka", "boto3", "obstore")
        },
    }


def save(
    file: Path,
    plan: Plan,
    results: Sequence[Result],
    *,
    facts: dict[str, Any],
) -> None:
    """Write all that was measured."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "seconds": plan.seconds,
        **facts,
        "results": [asdict(result) for result in results],
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals.

    Attributes:
        measure: What is compared.
        case: Name of the case that decides.
        rule: The goal.
        found: What each engine reached; missing: not measured.
    """

    measure: str
    case: str
    rule: str
    found: dict[str, str]


def goals(found: dict[str, dict[str, Summary]], facts: dict[str, Any]) -> str:
    """Return the table of goals, with what each engine reached."""
    lines = ["| measure | case | goal | boto3 | obstore |", "|---|---|---|---|---|"]
    for one in _goals(found, facts):
        cells = " | ".join(one.found.get(name, "not measured") for name in OURS)
        lines.append(f"| {one.measure} | {one.case} | {one.rule} | {cells} |")
    return "\n".join(lines)


def _goals(found: dict[str, dict[str, Summary]], facts: dict[str, Any]) -> Iterable[Goal]:
    for mode, least in (("consume", 0.9), ("produce", 0.9), ("process", 0.8)):
        for case, by_name in found.items():
            if case.startswith(f"{mode}, ") and FLOORS[0] in by_name and OURS[0] in by_name:
                rule = f">= {least} x the bare client"
                yield Goal(mode, case, rule, _ratios(by_name, floor_of))
    for case, by_name in found.items():
        if "flms" in by_name:
            rule = ">= 20 x" if "30 ms" in case else ""
            name = "against faust-large-message-serializer"
            yield Goal(name, case, rule, _ratios(by_name, lambda _: "flms"))
    for case, by_name in found.items():
        if SMALL in case:
            rule = ">= 0.97 x"
            yield Goal("against plain Faust", case, rule, _ratios(by_name, lambda _: "plain"))
    for case, by_name in found.items():
        late: dict[str, str] = {
            name: f"{stall[1]:.1f} ms"
            for name in OURS
            if name in by_name and (stall := by_name[name].stall_ms)
        }
        if late and SMALL not in case:
            yield Goal("event loop late, p99", case, "<= 10 ms", late)
    for case, by_name in found.items():
        if case.endswith("backlog"):
            rises = {name: f"{by_name[name].rss_mib[1]:.0f} MiB" for name in OURS}
            yield Goal("memory above the start", case, "<= 64 MiB + 100 MB", rises)
    if wire := facts.get("wire", {}).get("faust_s3"):
        size = f"{max(wire)} bytes"
        yield Goal("claim", "1 MiB", "<= 128 bytes", dict.fromkeys(OURS, size))


def _ratios(by_name: dict[str, Summary], base: Callable[[str], str]) -> dict[str, str]:
    return {
        name: f"{by_name[name].rate / by_name[base(name)].rate:.2f}"
        for name in OURS
        if name in by_name and base(name) in by_name
    }
