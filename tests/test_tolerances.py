"""How far answers may be from the reference's: a limit for values up to 1, which grows with larger ones."""

from __future__ import annotations

import numpy as np
import pytest

from tf_exporter import VerificationError
from tf_exporter.hub.verify import _difference
from tf_exporter.limits import Limits, limits
from tf_exporter.manifest import limit_in_words
from tf_exporter.tolerances import allowed
from tf_exporter.verify import compare

FLOAT32 = limits("float32", 1e-5)


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_limit_grows_with_its_own_row_alone() -> None:
    expected = rows([0.5, -0.2], [-40.0, 1.0], [-np.inf, 3.0])
    assert allowed(1e-5, expected) == pytest.approx([1e-5, 4e-4, 3e-5])
    # One row of layers' outputs is one token of one text.
    assert allowed(1.0, np.ones([2, 3, 4, 5])).shape == (2, 3, 4)


@pytest.mark.parametrize(("off", "fine"), [(3e-4, True), (5e-4, False)])
def test_embeddings(off: float, fine: bool) -> None:
    expected = rows([40.0, 1.0], [0.5, 0.5])
    found = expected + rows([0, off], [0, 0])
    if fine:
        assert compare(found, expected, ["a", "b"], FLOAT32, "x")[0] == pytest.approx(off, rel=0.01)
        return
    with pytest.raises(VerificationError, match=r"'a'.*allowed 4\.0e-04"):
        compare(found, expected, ["a", "b"], FLOAT32, "x")


def test_a_large_row_excuses_no_other() -> None:
    expected = rows([40.0, 1.0], [0.5, 0.5])
    with pytest.raises(VerificationError, match=r"'b'.*allowed 1\.0e-05"):
        compare(expected + rows([0, 0], [0, 3e-5]), expected, ["a", "b"], FLOAT32, "x")


def test_scores() -> None:
    expected = np.array([-8.0, 0.1], np.float32)
    compare(expected + np.array([6e-5, 0], np.float32), expected, ["a", "b"], FLOAT32, "x")
    with pytest.raises(VerificationError, match="'b'"):
        compare(expected + np.array([0, 6e-5], np.float32), expected, ["a", "b"], FLOAT32, "x")


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_no_limit_is_wide_enough_for_what_is_no_number(wrong: float) -> None:
    expected = rows([40.0, 1.0])
    for ours, theirs in ((rows([40.0, wrong]), expected), (expected, rows([40.0, wrong]))):
        with pytest.raises(VerificationError):
            compare(ours, theirs, ["a"], FLOAT32, "x")
        with pytest.raises(VerificationError):
            _difference("x", ours, theirs, 1e-5)


def test_outputs_for_tensorflow_hub() -> None:
    expected = np.array([[[100.0, 1.0], [0.1, 0.2]]], np.float32)
    off = np.zeros_like(expected)
    off[0, 0, 1] = 9e-4
    assert _difference("x", expected + off, expected, 1e-5) == pytest.approx(9e-4, rel=0.1)
    off[0, 0, 1], off[0, 1, 1] = 0, 2e-5
    with pytest.raises(VerificationError, match=r"allowed 1\.0e-05"):
        _difference("x", expected + off, expected, 1e-5)


def test_limits_in_words() -> None:
    assert limit_in_words(2.5e-5, 2e-5) == "2.5e-05"
    assert limit_in_words(1e-5, 2e-5) == "1e-05 times the largest value of each"


def test_other_precisions() -> None:
    """Their cosine alone tells of embeddings; scores have a limit that grows as well."""
    wide = limits("bfloat16", 1e-5)
    assert isinstance(wide, Limits)
    compare(rows([1.0, 1.05]), rows([1.0, 1.0]), ["a"], wide, "x")
    with pytest.raises(VerificationError):
        compare(rows([1.0, 2.0]), rows([1.0, 1.0]), ["a"], wide, "x")
