"""The tolerated differences: a limit for values up to 1, which grows with larger values."""

from __future__ import annotations

import numpy as np
import pytest

from tf_exporter import VerificationError
from tf_exporter.artifact.card import limit_in_words
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.tolerances import Tolerance, allowed, of_embeddings, of_scores

FLOAT32 = of_embeddings("float32", 1e-5)
SCORES = of_scores("float32", 1e-5)


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_limit_grows_with_its_own_row_alone() -> None:
    expected = rows([0.5, -0.2], [-40.0, 1.0], [-np.inf, 3.0])
    assert allowed(1e-5, expected) == pytest.approx([1e-5, 4e-4, 3e-5])
    # A row of the layers' outputs is a token of a text.
    assert allowed(1.0, np.ones([2, 3, 4, 5])).shape == (2, 3, 4)


@pytest.mark.parametrize(("off", "fine"), [(3e-4, True), (5e-4, False)])
def test_embeddings(off: float, fine: bool) -> None:
    expected = rows([40.0, 1.0], [0.5, 0.5])
    result = expected + rows([0, off], [0, 0])
    if fine:
        assert compare("x", result, expected, FLOAT32, ["a", "b"])[0] == pytest.approx(
            off, rel=0.01
        )
        return
    with pytest.raises(VerificationError, match=r"'a'.*allowed 4\.0e-04"):
        compare("x", result, expected, FLOAT32, ["a", "b"])


def test_a_large_row_excuses_no_other() -> None:
    expected = rows([40.0, 1.0], [0.5, 0.5])
    with pytest.raises(VerificationError, match=r"'b'.*allowed 1\.0e-05"):
        compare("x", expected + rows([0, 0], [0, 3e-5]), expected, FLOAT32, ["a", "b"])


def test_scores() -> None:
    expected = np.array([-8.0, 0.1], np.float32)
    compare("x", expected + np.array([6e-5, 0], np.float32), expected, SCORES, ["a", "b"])
    with pytest.raises(VerificationError, match="'b'"):
        compare("x", expected + np.array([0, 6e-5], np.float32), expected, SCORES, ["a", "b"])


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_no_limit_is_wide_enough_for_what_is_no_number(wrong: float) -> None:
    expected = rows([40.0, 1.0])
    for ours, theirs in ((rows([40.0, wrong]), expected), (expected, rows([40.0, wrong]))):
        with pytest.raises(VerificationError):
            compare("x", ours, theirs, FLOAT32, ["a"])
        with pytest.raises(VerificationError):
            compare("x", ours, theirs, SCORES)


def test_outputs_for_tensorflow_hub() -> None:
    expected = np.array([[[100.0, 1.0], [0.1, 0.2]]], np.float32)
    off = np.zeros_like(expected)
    off[0, 0, 1] = 9e-4
    assert compare("x", expected + off, expected, SCORES).absolute == pytest.approx(9e-4, rel=0.1)
    off[0, 0, 1], off[0, 1, 1] = 0, 2e-5
    with pytest.raises(VerificationError, match=r"allowed 1\.0e-05"):
        compare("x", expected + off, expected, SCORES)


def test_limits_in_words() -> None:
    assert limit_in_words(2.5e-5, 2e-5) == "2.5e-05"
    assert limit_in_words(1e-5, 2e-5) == "1e-05 times the largest value of each"


def test_other_precisions() -> None:
    """Embeddings are compared by cosine; scores have a limit that grows as well."""
    wide = of_embeddings("bfloat16", 1e-5)
    assert isinstance(wide, Tolerance)
    compare("x", rows([1.0, 1.05]), rows([1.0, 1.0]), wide, ["a"])
    with pytest.raises(VerificationError):
        compare("x", rows([1.0, 2.0]), rows([1.0, 1.0]), wide, ["a"])
