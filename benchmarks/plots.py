"""The figures of a run as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cases import CONTENDERS, FLOORS
from benchmarks.report import Summary
from benchmarks.running import Result

__all__ = ["draw"]

Found = dict[str, dict[str, Summary]]

#: One colour for each engine, lighter for the bare client; greys for others.
COLOURS: Final = {
    "boto3": "#9ecae1",
    "faust_s3 boto3": "#2171b5",
    "obstore": "#fdbe85",
    "faust_s3 obstore": "#d94801",
    "codec boto3": "#6a51a3",
    "flms": "#636363",
    "kaf-s3": "#969696",
    "plain": "#74a57f",
}
ORDER: Final = tuple(COLOURS)
MODES: Final = {"consume": "read", "produce": "send", "process": "read and send on"}
#: MiB: prefetch_bytes, and what section 8 of the design allows beside it.
BUDGET: Final = 64 + 100e6 / 2**20

_STYLE: Final[Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "savefig.dpi": 120,
}


def draw(directory: Path, name: str, found: Found, results: Sequence[Result]) -> None:
    """Write what can be drawn of a run to ``<name>-*.png``."""
    with mpl.rc_context(_STYLE):
        for kind in ("1 MiB", "64 KiB"):
            file = f"{name}-{kind.replace(' ', '')}"
            _bars(directory / f"{file}-rate.png", found, kind, "rate")
            _bars(directory / f"{file}-stall.png", found, kind, "stall")
            _bars(directory / f"{file}-cpu.png", found, kind, "cpu")
            _latencies(directory / f"{file}-latency.png", found, kind)
        _memory(directory / f"{name}-memory.png", results)


TITLES: Final = {
    "rate": "records per second",
    "stall": "event loop late, 99th percentile, ms",
    "cpu": "CPU of the contender, ms per record",
}


def _value(one: Summary, what: str) -> float | None:
    if what == "stall":
        return one.stall_ms[1] if one.stall_ms else None
    return one.rate if what == "rate" else one.cpu_ms


def _bars(file: Path, found: Found, kind: str, what: str) -> None:
    """Draw a bar for each contender, with 30 ms of store latency."""
    cases = {mode: found.get(f"{mode}, {kind}, 30 ms", {}) for mode in MODES}
    if not any(cases.values()):
        return
    names = [name for name in ORDER if any(name in by_name for by_name in cases.values())]
    figure = Figure(figsize=(9, 0.7 + 0.28 * len(names)), layout="constrained")
    axes: Any = figure.subplots(1, len(MODES), sharey=True)
    for axis, (mode, by_name) in zip(axes, cases.items(), strict=True):
        values = [_value(by_name[name], what) if name in by_name else None for name in names]
        bars = axis.barh(
            [CONTENDERS[name].label for name in names],
            [value or 0.0 for value in values],
            color=[COLOURS[name] for name in names],
        )
        axis.bar_label(
            bars,
            labels=[
                "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
                for value in values
            ],
            padding=2,
            fontsize=8,
        )
        axis.grid(visible=False)
        axis.spines["bottom"].set_visible(False)
        axis.tick_params(left=False, bottom=False, labelbottom=False)
        axis.set_title(MODES[mode])
        axis.margins(x=0.2)
    axes[0].invert_yaxis()
    figure.suptitle(f"{kind}, 30 ms of store latency: {TITLES[what]}")
    figure.savefig(file)


def _latencies(file: Path, found: Found, kind: str) -> None:
    """Draw rates over the latency of the store."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes: Any = figure.subplots(1, 2, sharey=True)
    drawn = False
    for axis, mode in zip(axes, ("consume", "produce"), strict=True):
        for name in ORDER:
            points = [
                (latency, found[case][name])
                for latency in (0, 10, 30, 100)
                if name in found.get(case := f"{mode}, {kind}, {latency} ms", {})
            ]
            if len(points) > 1:
                drawn = True
                axis.errorbar(
                    [latency for latency, _ in points],
                    [one.rate for _, one in points],
                    yerr=[
                        [one.rate - one.lowest for _, one in points],
                        [one.highest - one.rate for _, one in points],
                    ],
                    color=COLOURS[name],
                    linestyle="--" if name in FLOORS else "-",
                    marker="o",
                    markersize=4,
                    capsize=2,
                    label=CONTENDERS[name].label,
                )
        axis.set_title(MODES[mode])
        axis.set_xlabel("store latency, ms")
        axis.set_xticks([0, 10, 30, 100])
        axis.set_ylim(bottom=0)
    if not drawn:
        return
    axes[0].set_ylabel("records per second")
    axes[0].legend(fontsize=8)
    figure.suptitle(f"{kind}: median, lowest and highest round")
    figure.savefig(file)


def _memory(file: Path, results: Sequence[Result]) -> None:
    """Draw the memory while a backlog is read, beside the budget."""
    shown = [result for result in results if result.memory]
    if not shown:
        return
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axis: Any = figure.subplots()
    for result in shown:
        start = result.memory[0][1]
        axis.plot(
            [moment for moment, _ in result.memory],
            [size - start for _, size in result.memory],
            color=COLOURS[result.contender],
            label=CONTENDERS[result.contender].label,
        )
    axis.axhline(BUDGET, color="#c00000", linewidth=1, linestyle=":")
    axis.annotate("prefetch_bytes + 100 MB", (0, BUDGET), color="#c00000", va="bottom", fontsize=8)
    axis.set_xlabel("seconds since the first record")
    axis.set_ylabel("MiB above the start")
    axis.set_title(shown[0].case)
    axis.legend()
    figure.savefig(file)
