"""Converts every real public model folder of the shared test data, and writes the outcomes.

python -m tools.public_folders
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

# Before TensorFlow: in the other order their copies of LLVM abort.
import sentence_transformers  # noqa: F401

from fixtures.public_folders import FOLDERS, public_folders, write_public_folder
from tf_exporter import ConversionError, convert

RESULTS = Path(__file__).resolve().parents[1] / "results" / "public_folders.json"


def outcome(name: str) -> dict[str, Any]:
    """The outcome of one folder: converted with its figures, or refused with the reason."""
    with tempfile.TemporaryDirectory() as place:
        kind = _kind(name)
        try:
            folder = write_public_folder(Path(place) / "model", name)
        except ValueError:
            # Weights cannot be made for a broken config; the folder is refused without them, too.
            folder = FOLDERS / name
        try:
            conversion = convert(folder, Path(place) / "out")
        except ConversionError as error:
            return {
                "kind": kind,
                "outcome": "refused",
                "reason": str(error).replace(place, ".").replace("\n", "; "),
            }
        return {
            "kind": kind,
            "outcome": "converted",
            "difference": float(f"{conversion.verification['max_abs_difference']:.1e}"),
            "ignored": [key for keys in conversion.manifest["ignored"].values() for key in keys],
        }


def _kind(name: str) -> str:
    """The `model_type` of config.json."""
    places = (FOLDERS / name / "config.json", FOLDERS / name / "0_Transformer" / "config.json")
    try:
        return str(
            json.loads(next(path for path in places if path.is_file()).read_text()).get(
                "model_type"
            )
        )
    except (StopIteration, ValueError):
        return "unknown"


def main(names: list[str]) -> None:
    """Writes the results, sorted by name, after each folder.

    With `names`, converts only these and keeps earlier results of the others.
    """
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if names and RESULTS.is_file() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    for name in names or public_folders():
        results[name] = outcome(name)
        print(name, results[name], flush=True)
        RESULTS.write_text(
            json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
