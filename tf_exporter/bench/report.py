"""The times as a table, as figures, and as the answer: which artifact is fastest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_exporter.bench.artifacts import Artifact
from tf_exporter.bench.texts import Shape

NEAR = 1.05
"""Artifacts that take up to so many times the least time are named as about as fast."""


@dataclass
class Row:
    """The times of one artifact."""

    artifact: Artifact
    name: str
    times: dict[str, float] = field(default_factory=dict)
    """Name of a shape → median milliseconds."""
    error: str | None = None
    """Why the artifact cannot run on this machine; None: it can."""


def names(artifacts: Sequence[Artifact]) -> list[str]:
    """A short name for each: the folder's own, or the whole path where two have the same."""
    short = [os.path.basename(os.path.abspath(artifact.folder)) for artifact in artifacts]
    return [
        artifact.folder if short.count(name) > 1 else name
        for artifact, name in zip(artifacts, short)
    ]


def table(rows: Sequence[Row], shapes: Sequence[Shape]) -> list[str]:
    """A line for each artifact: milliseconds, and in brackets the ratio to the first that runs."""
    first = next((row for row in rows if row.error is None), None)
    lines = [["median ms", "precision", *(shape.name for shape in shapes)]]
    for row in rows:
        cells = [row.name, row.artifact.precision]
        if row.error is None:
            cells += [_cell(row, first, shape.name) for shape in shapes]
        lines.append(cells)
    columns = range(2 + len(shapes))
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in columns]
    shown = []
    for line, error in zip(lines, [None, *(row.error for row in rows)]):
        cells = [line[0].ljust(widths[0]), line[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:])]
        if error is not None:
            cells.append(f"cannot run here: {error}")
        shown.append("  ".join(cells).rstrip())
    return shown


def _cell(row: Row, first: Row | None, shape: str) -> str:
    value = row.times[shape]
    shown = f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"
    return shown if first is None or row is first else f"{shown} ({value / first.times[shape]:.2f})"


def verdict(rows: Sequence[Row], shapes: Sequence[Shape]) -> str:
    """The fastest artifact for single texts, and the one for batches."""
    parts = [
        f"{use}: {_fastest(rows, chosen)}"
        for use, single in (("single texts", True), ("batches", False))
        if (chosen := [shape.name for shape in shapes if shape.single == single])
    ]
    return f"Fastest for {'; for '.join(parts)}"


def _fastest(rows: Sequence[Row], shapes: Sequence[str]) -> str:
    running = [row for row in rows if row.error is None]

    def ratio(row: Row) -> float:
        """The geometric mean of the ratios to the first artifact."""
        product = 1.0
        for shape in shapes:
            product *= row.times[shape] / running[0].times[shape]
        return float(product ** (1 / len(shapes)))

    best, *others = sorted(running, key=ratio)
    near = [row.name for row in others if ratio(row) <= ratio(best) * NEAR]
    about = f"; about as fast: {', '.join(near)}" if near else ""
    return f"{best.name} ({best.artifact.precision}{about})"


def figures(rows: Sequence[Row], shapes: Sequence[Shape]) -> dict[str, Any]:
    """The times for programs."""
    return {
        "shapes": {shape.name: len(shape.texts) for shape in shapes},
        "artifacts": [
            {
                "folder": row.artifact.folder,
                "kind": row.artifact.kind,
                "precision": row.artifact.precision,
                "median_ms": row.times,
                "error": row.error,
            }
            for row in rows
        ],
    }
