"""A progress bar for steps that last; none where there is no terminal to show it on."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress(description: str, total: int, quiet: bool) -> Any:
    """A bar to `update(n)` and `close()`, also a context manager."""
    # disable=None: tqdm shows nothing where its stream is no terminal.
    return tqdm(total=total, desc=description, unit="", unit_scale=True, leave=False, disable=True if quiet else None)
