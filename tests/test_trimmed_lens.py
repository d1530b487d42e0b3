"""The trimmed lens: the largest coordinates of each state are 0, and layer L is the model's own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lenscore.lenses import logit, trimmed
from lenscore.lenses.registry import LensSource, load_lenses
from lenscore.lenses.trimmed import TrimmedLens, without_largest
from lenscore.models.loading import LoadedModel
from lenscore.models.residuals import residual_states
from lenscore.study.lenses import LENSES
from tests.tiny_models import FAMILIES, LAYERS, tiny_model, token_ids

IDS = token_ids(24)
POSITIONS = torch.tensor([3, 11, 22])


def test_by_hand() -> None:
    """Of (1, −5, 2, 0.5) the largest is −5; of (3, −3, 3, 1) all three are as large as the largest."""
    states = torch.tensor([[1, -5, 2, 0.5], [3, -3, 3, 1]])
    assert without_largest(states, 1).tolist() == [[1, 0, 2, 0.5], [0, 0, 0, 1]]
    assert without_largest(states, 2)[0].tolist() == [1, 0, 0, 0.5]


@pytest.mark.parametrize(("width", "removed"), [(32, 1), (576, 6), (4096, 41)])
def test_one_in_a_hundred_coordinates_is_removed_from_each_state(width: int, removed: int) -> None:
    states = np.random.default_rng(0).normal(size=(2, 3, width)).astype(np.float32)
    states[0, 0, 7] = 1000.0
    unembedding = LoadedModel.of(tiny_model("llama")).unembedding
    found = TrimmedLens(unembedding, n_layers=2).translate(torch.from_numpy(states), 1).numpy()
    largest = np.argsort(-np.abs(states), axis=-1)[..., :removed]
    expected = states.copy()
    np.put_along_axis(expected, largest, 0.0, axis=-1)
    np.testing.assert_array_equal(found, expected)
    assert found[0, 0, 7] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_logit_lens_of_what_is_left_and_at_the_last_layer_the_model(family: str) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    states = residual_states(loaded, {"input_ids": IDS}, POSITIONS)
    lens = trimmed.load(loaded, Path(), None)
    plain = logit.load(loaded, Path(), None)
    with torch.inference_mode():
        assert torch.equal(lens.translate(states[LAYERS], LAYERS), states[LAYERS])
        for layer in range(LAYERS):
            left = lens.translate(states[layer], layer)
            changed = left != states[layer]
            assert (changed.sum(-1) == 1).all()  # of 32 coordinates
            assert torch.equal(states[layer].abs().argmax(-1), changed.int().argmax(-1))
            assert not torch.allclose(lens.unembedding(left), plain.unembedding(states[layer]))


def test_what_is_not_a_number_stays_so() -> None:
    """So that the job that meets it says so."""
    states = torch.tensor([[1.0, float("nan"), 2.0, 0.5]])
    assert without_largest(states, 1).isnan().tolist() == [[False, True, False, False]]


def test_a_study_finds_it_by_name() -> None:
    loaded = LoadedModel.of(tiny_model("llama"))
    found = load_lenses({"trimmed": LensSource(LENSES["trimmed"].module)}, Path(), loaded)
    assert isinstance(found["trimmed"], TrimmedLens)
    assert LENSES["trimmed"].training is None
