"""The statistics of a lens's distributions, against plain NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr
from scipy.stats import entropy
from torch import nn

from lenscore.extraction import statistics
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.lenses.logit import LogitLens
from lenscore.models.unembedding import Unembedding

LAYERS, POSITIONS, VOCABULARY, K = 4, 21, 37, 5


class Doubled(LogitLens):
    """A lens that is not the logit lens, to see that the layer reaches it."""

    def translate(self, states: torch.Tensor, layer: int) -> torch.Tensor:
        return states if layer == LAYERS - 1 else states * (layer + 2)


def bare(head: nn.Module) -> Unembedding:
    return Unembedding(None, None, head, head_dtype=torch.float32, logit_scale=1.0, soft_cap=None)


def plain_unembedding() -> Unembedding:
    torch.manual_seed(0)
    return bare(nn.Linear(8, VOCABULARY))


@pytest.fixture
def logits() -> np.ndarray:
    """Logits of four layers whose distributions differ, with exact ties among them."""
    logits = np.random.default_rng(0).normal(size=(LAYERS, POSITIONS, VOCABULARY)).astype(np.float32) * 2
    logits[0, :, 5] = logits[0, :, 30] = logits[0].max(axis=1) + 1  # two best tokens
    logits[1, :, 7] = logits[1, :, 20]  # the target ties with a token of a lower id
    return logits


def statistics_of(logits: np.ndarray, targets: list[int]) -> LensStatistics:
    """Pass logits through as if they were states: the head is the identity."""
    head = nn.Identity()
    lens = LogitLens(bare(head))
    return lens_statistics(lens, torch.from_numpy(logits), torch.tensor(targets), K)


def test_statistics_are_those_of_numpy(logits: np.ndarray) -> None:
    targets = [20] * POSITIONS
    found = statistics_of(logits, targets)
    logprobs = log_softmax(logits.astype(np.float64), axis=-1)
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranks = (order == 20).argmax(axis=-1) + 1
    final = np.exp(logprobs[-1])
    np.testing.assert_array_equal(found.top1_id, order[..., 0])
    np.testing.assert_array_equal(found.target_rank, ranks)
    np.testing.assert_allclose(found.top1_logprob, logprobs.max(-1), atol=1e-5)
    np.testing.assert_allclose(found.target_logprob, logprobs[..., 20], atol=1e-5)
    np.testing.assert_allclose(found.entropy, entropy(np.exp(logprobs), axis=-1), atol=1e-5)
    np.testing.assert_allclose(found.kl_to_final, rel_entr(final, np.exp(logprobs)).sum(-1), atol=1e-5)
    own = order[-1, :, 0]
    np.testing.assert_allclose(found.own_token_logprob, logprobs[:, np.arange(POSITIONS), own], atol=1e-5)
    np.testing.assert_allclose(
        found.jsd_to_final, jensenshannon(np.exp(logprobs), final[None], axis=-1) ** 2, atol=2e-6
    )
    np.testing.assert_allclose(found.topk_logprobs, np.take_along_axis(logprobs, order, -1)[..., :K], atol=1e-5)
    for layer in range(2, LAYERS):  # layers without ties
        np.testing.assert_array_equal(found.topk_ids[layer], order[layer, :, :K])


def test_the_top_k_of_a_vocabulary_of_many_blocks() -> None:
    """The largest logits stand all in one block, each in a block of its own, and behind the last whole block."""
    vocabulary = 9 * statistics._BLOCK + 13
    logits = np.random.default_rng(1).normal(size=(3, 2, vocabulary)).astype(np.float32)
    places = [
        range(300, 300 + K),
        range(0, K * statistics._BLOCK, statistics._BLOCK),
        range(vocabulary - K, vocabulary),
    ]
    for layer, ids in enumerate(places):
        logits[layer][:, list(ids)] += 20
    found = statistics_of(logits, [0, 1])
    order = np.argsort(-logits, axis=-1)[..., :K]
    assert [set(of_layer.flatten()) for of_layer in order] == [set(ids) for ids in places]
    np.testing.assert_array_equal(found.topk_ids, order)
    np.testing.assert_array_equal(found.top1_id, order[..., 0])
    exact = np.take_along_axis(log_softmax(logits.astype(np.float64), axis=-1), order, -1)
    np.testing.assert_allclose(found.topk_logprobs, exact, atol=1e-5)


def test_of_many_equal_logits_the_first_is_the_top1() -> None:
    logits = np.zeros((2, 1, 9 * statistics._BLOCK), dtype=np.float32)
    logits[1, 0, 1000:1100] = 1.0
    found = statistics_of(logits, [1099])
    assert found.top1_id.flatten().tolist() == [0, 1000]
    assert found.target_rank.flatten().tolist() == [1100, 100]
    assert set(found.topk_ids[1, 0].tolist()) <= set(range(1000, 1100))
    assert len(set(found.topk_ids[0, 0].tolist())) == K


def test_the_divergence_is_from_the_final_distribution_to_the_layers(logits: np.ndarray) -> None:
    found = statistics_of(logits, [0] * POSITIONS).kl_to_final
    p, q = (np.exp(log_softmax(logits[layer].astype(np.float64), axis=-1)) for layer in (-1, 2))
    assert not np.allclose(found[2], rel_entr(q, p).sum(-1), atol=1e-2)  # the other direction
    np.testing.assert_allclose(found[-1], 0, atol=1e-6)
    assert (found >= 0).all()


@pytest.mark.parametrize(("target", "rank"), [(5, 1), (30, 2)])
def test_of_two_best_tokens_the_lower_id_is_the_first(logits: np.ndarray, target: int, rank: int) -> None:
    found = statistics_of(logits, [target] * POSITIONS)
    assert (found.target_rank[0] == rank).all()
    assert ((found.top1_id[0] == target) == (rank == 1)).all()


def test_the_rank_is_one_exactly_where_the_target_is_the_top1(logits: np.ndarray) -> None:
    targets = np.arange(POSITIONS) % VOCABULARY
    found = statistics_of(logits, targets.tolist())
    np.testing.assert_array_equal(found.target_rank == 1, found.top1_id.numpy() == targets)


@pytest.mark.parametrize("least", [-1e30, -np.inf])
def test_a_token_of_no_probability_does_no_harm(least: float) -> None:
    logits = np.zeros((2, 1, 4), dtype=np.float32)
    logits[:, :, 3] = least
    found = statistics_of(logits, [3])
    np.testing.assert_allclose(found.entropy, np.log(3), atol=1e-6)
    np.testing.assert_allclose(found.kl_to_final, 0, atol=1e-6)
    np.testing.assert_allclose(found.jsd_to_final, 0, atol=1e-6)
    assert (found.target_rank == 4).all()


def test_jensen_shannon_by_hand() -> None:
    """(½, ½) and (1, 0): the mean is (¾, ¼), so ¾ ln 4/3 + ¼ ln 4 − ½ ln 2 = 0.2158; (0, 1) and (1, 0): ln 2."""
    logits = np.array([[0, 0], [-200, 0], [0, -200]], dtype=np.float32)[:, None]
    found = statistics_of(logits, [0]).jsd_to_final[:, 0]
    np.testing.assert_allclose(found, [0.215762, np.log(2), 0], atol=1e-6)


def test_each_layer_is_translated_as_that_layer() -> None:
    unembedding = plain_unembedding()
    states = torch.randn(LAYERS, 3, 8)
    found = lens_statistics(Doubled(unembedding), states, torch.tensor([1, 2, 3]), K)
    with torch.inference_mode():
        for layer in range(LAYERS):
            factor = 1 if layer == LAYERS - 1 else layer + 2
            own = torch.log_softmax(unembedding(states[layer] * factor), -1)
            torch.testing.assert_close(found.top1_logprob[layer], own.max(-1).values)


def test_few_rows_are_projected_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unembedding = plain_unembedding()
    rows: list[int] = []
    unembedding.head.register_forward_hook(lambda _, __, output: rows.append(output.numel() // VOCABULARY))
    states = torch.randn(31, 40, 8)
    lens_statistics(LogitLens(unembedding), states, torch.zeros(40, dtype=torch.long), K)
    assert max(rows) <= statistics._ROWS_AT_ONCE["cpu"]
    assert sum(rows) == 31 * 40


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch, logits: np.ndarray) -> None:
    targets = list(range(POSITIONS))
    whole = statistics_of(logits, targets)
    monkeypatch.setitem(statistics._ROWS_AT_ONCE, "cpu", 3)
    for name in LensStatistics.__dataclass_fields__:
        torch.testing.assert_close(getattr(statistics_of(logits, targets), name), getattr(whole, name))
