"""Runs `python -m tf_exporter.bench`."""

from __future__ import annotations

import sys

from tf_exporter.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
