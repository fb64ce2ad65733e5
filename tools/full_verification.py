"""Converts models of published sizes with `--verify full`, and writes the outcomes.

python -m tools.full_verification
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

# Before TensorFlow: in the other order their copies of LLVM abort.
import sentence_transformers  # noqa: F401

from fixtures.published_sizes import MODELS
from tf_exporter import convert

RESULTS = Path(__file__).resolve().parents[1] / "results" / "full_verification.json"


def main() -> None:
    """Converts one model after the other."""
    rows = {}
    for name, write in MODELS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = write(Path(place) / "model")
            started = time.monotonic()
            verified = convert(folder, Path(place) / "out", verify="full").verification
            print(name, json.dumps(verified, indent=1), file=sys.stderr)
            rows[name] = {
                "token_id_texts": verified["token_texts"],
                "embedding_texts": verified["embedding_texts"],
                "difference": float(f"{verified['max_abs_difference']:.1e}"),
                "minutes": round((time.monotonic() - started) / 60),
            }
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
