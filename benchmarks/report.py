"""The results of the embeddings benchmark as tables, a plot and figures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from benchmarks.engines import OURS
from benchmarks.workers import FLOOR


class Cosines(TypedDict):
    """The cosines of an engine's embeddings to ours in float32."""

    smallest: float
    mean: float
    texts: int


class Times(TypedDict):
    """The times of an engine's calls in a case, in milliseconds."""

    median: float
    minimum: float
    calls: int


def summary(times: list[float]) -> Times:
    """The median, minimum and number of the milliseconds of calls."""
    return {"median": float(np.median(times)), "minimum": min(times), "calls": len(times)}


@dataclass
class Result:
    """The results of one model."""

    model: str
    differences: dict[str, float]
    """Engine → the largest difference of an embedding's component from ours."""
    times: dict[str, dict[str, Times]] = field(default_factory=dict)
    """Case → engine that ran it → its times."""
    tokens: dict[str, int] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    """Engine → its load time in seconds and its sizes in bytes."""
    cosines: dict[str, Cosines] = field(default_factory=dict)
    """Engine of reduced precision → its cosines."""

    def median(self, case: str, engine: str) -> float | None:
        """The median in milliseconds; None where the engine did not run the case."""
        times = self.times[case].get(engine)
        return times["median"] if times else None

    def expected_s(self, engine: str, texts: dict[str, list[str]], case: str) -> float:
        """The expected seconds of a call, from the last case whose texts this one extends, or 0.

        `texts`: the texts of each case.
        """
        for before in reversed(self.times):
            median = self.median(before, engine)
            # An engine that was left out is judged by the last case in which it was not.
            if median is None or not before.endswith(" mixed"):
                continue
            if texts[before] == texts[case][: len(texts[before])]:
                return median * len(texts[case]) / len(texts[before]) / 1e3
        return 0.0


def table(results: list[Result], cases: list[str] | None = None) -> str:
    """Markdown tables of medians in milliseconds, with their ratios to ours in brackets."""
    lines = []
    for result in results:
        engines = list(dict.fromkeys(engine for times in result.times.values() for engine in times))
        lines += [
            f"| {result.model}, ms | " + " | ".join(engines) + " |",
            "|---|" + "---|" * len(engines),
        ]
        for case in cases or result.times:
            ours = result.median(case, OURS)
            cells = []
            for engine in engines:
                median = result.median(case, engine)
                ratio = (
                    ""
                    if engine in (OURS,) or median is None or not ours
                    else f" ({median / ours:.2f})"
                )
                cells.append(
                    "–" if median is None else f"{median:,.{1 if median < 100 else 0}f}{ratio}"
                )
            lines.append(f"| {case} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def memory_table(results: list[Result]) -> str:
    """A Markdown table of size, load time, and memory beyond the engine's libraries."""
    lines = [
        "| | on disk, MB | load, s | resident after load, MB more | at most, MB more |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        for engine, row in result.memory.items():
            peak = row["peak_bytes"] - row["before_bytes"]
            sizes = " | ".join(f"{size / 1e6:,.0f}" for size in (row["loaded_bytes"], peak))
            on_disk = f"{row['on_disk_bytes'] / 1e6:,.0f}"
            lines.append(
                f"| {result.model}, {engine} | {on_disk} | {row['load_s']:.1f} | {sizes} |"
            )
    return "\n".join(lines)


def cosine_table(results: list[Result]) -> str:
    """A Markdown table of the cosines of engines of reduced precision; empty without any."""
    rows = [(result.model, *item) for result in results for item in result.cosines.items()]
    if not rows:
        return ""
    lines = ["| cosine to tf-exporter in float32 | smallest | mean | texts |", "|---|---|---|---|"]
    for model, engine, row in rows:
        figures = f"{row['smallest']:.5f} | {row['mean']:.5f} | {row['texts']:,}"
        lines.append(f"| {model}, {engine} | {figures} |")
    return "\n".join([*lines, "", ""])


def plot(results: list[Result], path: Path) -> None:
    """Draws one panel for each model: the times of the engines divided by ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(results), 1, figsize=(10, 3.4 * len(results)), squeeze=False, layout="constrained"
    )
    for panel, result in zip(panels[:, 0], results):
        engines = [
            engine for engine in next(iter(result.times.values())) if engine not in (OURS, FLOOR)
        ]
        cases = list(result.times)
        for number, engine in enumerate(engines):
            ratios = [
                (result.median(case, engine) or np.nan) / (result.median(case, OURS) or np.nan)
                for case in cases
            ]
            places = np.arange(len(cases)) + (number - (len(engines) - 1) / 2) * 0.8 / len(engines)
            panel.bar(places, ratios, 0.8 / len(engines), label=engine)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_yscale("log")
        panel.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
        panel.minorticks_off()
        panel.set_xticks(range(len(cases)), cases, fontsize=8)
        panel.set_ylabel("time / tf-exporter's")
        panel.set_title(result.model)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def write(result: Result, folder: Path) -> None:
    """Writes `embeddings.md`, `.json` and `.png`, and keeps the results of other models and cases.

    Memory figures come from a run of all cases.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = folder / "embeddings.json"
    before = (
        [Result(**values) for values in json.loads(figures.read_text())] if figures.exists() else []
    )
    for earlier in (other for other in before if other.model == result.model):
        if earlier.times.keys() - result.times.keys():
            times, tokens = {**earlier.times, **result.times}, {**earlier.tokens, **result.tokens}
            result = Result(
                result.model,
                {**earlier.differences, **result.differences},
                times,
                tokens,
                earlier.memory,
                {**earlier.cosines, **result.cosines},
            )
    results = sorted(
        [*(other for other in before if other.model != result.model), result],
        key=lambda other: other.model,
    )
    tables = f"{table(results)}\n{cosine_table(results)}{memory_table(results)}\n"
    (folder / "embeddings.md").write_text(tables)
    figures.write_text(json.dumps([vars(entry) for entry in results], indent=1) + "\n")
    plot(results, folder / "embeddings.png")
