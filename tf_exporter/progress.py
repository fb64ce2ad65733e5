"""A progress bar for long steps, shown on terminals only."""

from __future__ import annotations

from tqdm import tqdm


def progress(description: str, total: int, quiet: bool) -> tqdm:
    """A bar with `update(n)` and `close()`; also a context manager."""
    # disable=None hides the bar where the stream is no terminal.
    return tqdm(
        total=total,
        desc=description,
        unit="",
        unit_scale=True,
        leave=False,
        disable=True if quiet else None,
    )
