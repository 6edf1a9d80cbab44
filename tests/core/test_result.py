"""Results: gaps, words, read-only arrays."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from rectifold.core.result import Proof, Result, Status, Trace


def trace():
    return Trace(np.array([0.1, 0.2]), np.array([2.0, 1.0]), np.array([-np.inf, 0.5]), ("a", "b"))


def test_gaps():
    result = Result("x", 2.0, 1.5)
    assert result.gap == 0.5
    assert result.relative_gap == 0.25
    assert Result("x", -2.0, -3.0).relative_gap == 0.5


def test_nothing_proven_is_an_infinite_gap():
    result = Result("x", 2.0)
    assert result.bound == -np.inf
    assert result.gap == np.inf == result.relative_gap


def test_gap_is_zero_when_both_are_and_never_negative():
    assert Result("x", 0.0, 0.0).relative_gap == 0.0
    assert Result("x", 1.0, 1.0 + 1e-12).gap == 0.0
    assert Result("x", 0.0, -1.0).relative_gap == np.inf


def test_results_are_frozen_and_compared_by_identity():
    result = Result("x", 2.0)
    with pytest.raises(FrozenInstanceError):
        result.value = 1.0
    with pytest.raises(TypeError):
        result.stats["seconds"] = 1.0
    assert result != Result("x", 2.0)


def test_stats_are_a_copy():
    stats = {"rounds": 1}
    result = Result("x", 2.0, stats=stats)
    stats["rounds"] = 2
    assert result.stats["rounds"] == 1


@pytest.mark.parametrize("clone", [lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy])
def test_copies_keep_everything_and_stay_read_only(clone):
    result = clone(Result("x", 2.0, 1.0, Status.TIME_LIMIT, Proof.PRICED, None, {"rounds": 3}, trace()))
    assert (result.value, result.bound, result.status, result.proof) == (2.0, 1.0, Status.TIME_LIMIT, Proof.PRICED)
    assert result.stats["rounds"] == 3
    with pytest.raises(TypeError):
        result.stats["rounds"] = 4
    for array in (result.trace.elapsed, result.trace.value, result.trace.bound):
        assert not array.flags.writeable


def test_trace_does_not_share_memory_with_its_caller():
    values = np.array([2.0, 1.0])
    made = Trace(np.zeros(2), values, np.zeros(2), ("a", "b"))
    values[0] = 9.0
    assert made.value[0] == 2.0
    assert len(made) == 2
    assert len(Trace()) == 0


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_sentence(status):
    assert str(status) == status.value == status
    assert status.message.endswith(".")


def test_words_of_proof():
    assert [str(p) for p in Proof] == ["certified", "priced", "restricted", "none"]


def test_text_shows_what_matters():
    text = str(Result("x", 2.0, 1.5, Status.TIME_LIMIT, Proof.PRICED, stats={"rounds": 3}))
    for word in ("time_limit", "2", "1.5", "0.25", "priced", "rounds"):
        assert word in text
