"""The tuned lens: translators that lower KL on texts never seen, kept apart from the study's questions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lenscore.contexts.questions import Document, Question, study_order
from lenscore.errors import ConfigError, SourceError
from lenscore.lenses.texts import lens_texts, refuse_overlap
from lenscore.lenses.training import _Fitter, divergences, least_squares
from lenscore.lenses.tuned import Translators, TunedLens
from lenscore.models.loading import LoadedModel
from lenscore.models.unembedding import Unembedding
from lenscore.study.lenses import TunedLensSpec
from tests.tiny_models import tiny_model, token_ids

SETTINGS = TunedLensSpec(steps=16, batch=64)


def dataset(n: int) -> list[Question]:
    return [Question(f"q{i}", "what", ("x",), None, Document(f"q{i}", "t", f"text {i // 2 if i < 4 else i}"), ())
            for i in range(n)]  # fmt: skip


def test_texts_are_apart_and_stay_as_the_study_grows() -> None:
    questions = dataset(30)
    texts = lens_texts(questions, 0, 10, 5)
    assert (len(texts.train), len(texts.validation), len(texts.held_out)) == (10, 2, 3)
    assert len(set(texts.question_ids)) == 15
    # Passages of two questions are in no part.
    assert not {"q0", "q1", "q2", "q3"} & set(texts.question_ids)
    first = [question.question_id for question in study_order(questions, 0)[:10]]
    refuse_overlap(texts.question_ids, first)
    with pytest.raises(ConfigError, match=r"questions: \d+ of the study's 30 are among the 15"):
        refuse_overlap(texts.question_ids, [question.question_id for question in questions])
    with pytest.raises(ConfigError, match=r"has 26 gold documents that belong to one question alone; lower tuned_lens"):
        lens_texts(questions, 0, 20, 7)


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma2"])
def family(request: pytest.FixtureRequest) -> tuple[Unembedding, torch.Tensor]:
    """A tiny model's unembedding, and its states: layers × tokens × width."""
    model = tiny_model(request.param)
    model.requires_grad_(False)
    hidden = []
    loaded = LoadedModel.of(model)
    blocks = loaded.architecture.blocks
    handles = [block.register_forward_hook(lambda _, __, out: hidden.append(out[0] if isinstance(out, tuple) else out))
               for block in blocks]  # fmt: skip
    first = blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: hidden.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    columns = []
    with torch.no_grad():
        for seed in range(12):
            hidden.clear()
            torch.manual_seed(seed)
            model(input_ids=token_ids(24).roll(seed, dims=1), use_cache=False)
            columns.append(torch.stack([state[0, 1:].clone() for state in hidden]))
    for handle in [*handles, first]:
        handle.remove()
    return loaded.unembedding, torch.cat(columns, dim=1)


def plain_kl(unembedding: Unembedding, state: torch.Tensor, final: torch.Tensor) -> float:
    """Token by token, by torch's distributions."""
    own = torch.distributions.Categorical(logits=unembedding(final).double())
    lens = torch.distributions.Categorical(logits=unembedding(state).double())
    return torch.distributions.kl_divergence(own, lens).mean().item()


def test_divergences_are_those_of_a_plain_computation(family: tuple[Unembedding, torch.Tensor]) -> None:
    unembedding, states = family
    found = divergences(unembedding, None, states)
    with torch.no_grad():
        for layer in range(len(states)):
            assert found[layer].item() == pytest.approx(
                plain_kl(unembedding, states[layer], states[-1]), rel=1e-4, abs=1e-6
            )
    assert found[-1] == 0


def test_least_squares_is_the_weighted_ridge_regression_of_numpy(family: tuple[Unembedding, torch.Tensor]) -> None:
    _, states = family
    translators = least_squares(states)
    final = states[-1].double().numpy()
    weight = 1 / np.sqrt((final**2).mean(axis=1, keepdims=True))
    for layer, state in enumerate(states[:-1].double().numpy()):
        inputs = np.hstack([state, np.ones((len(state), 1))]) * weight
        # Ridge as more rows: each coordinate is shrunk by a thousandth of its own sum of squares.
        penalty = np.diag(np.sqrt(1e-3 * (inputs**2).sum(axis=0)))
        targets = np.vstack([(final - state) * weight, np.zeros((len(penalty), final.shape[1]))])
        expected, *_ = np.linalg.lstsq(np.vstack([inputs, penalty]), targets)
        np.testing.assert_allclose(translators.weights[layer], expected[:-1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(translators.biases[layer], expected[-1], rtol=1e-4, atol=1e-4)


def test_training_lowers_the_divergence_on_tokens_never_seen_and_is_seeded(
    family: tuple[Unembedding, torch.Tensor],
) -> None:
    unembedding, states = family
    train, validation, held_out = states.split([120, 80, states.shape[1] - 200], dim=1)

    def fit(seed: int) -> Translators:
        return _Fitter(unembedding, train, validation, SETTINGS).fit(torch.Generator().manual_seed(seed))

    def mean_kl(translators: Translators) -> float:
        layers = range(translators.n_layers)
        with torch.no_grad():
            translated = [translators.translate(held_out[layer], layer) for layer in layers]
            return sum(plain_kl(unembedding, state, held_out[-1]) for state in translated) / len(layers)

    trained = fit(0)
    assert mean_kl(trained) < 0.998 * mean_kl(least_squares(train))
    assert torch.equal(fit(0).weights, trained.weights)
    assert not torch.equal(fit(1).weights, trained.weights)


def test_at_the_last_layer_the_lens_is_the_model(family: tuple[Unembedding, torch.Tensor]) -> None:
    unembedding, states = family
    lens = TunedLens(unembedding, least_squares(states))
    last = len(states) - 1
    assert torch.equal(lens.translate(states[last], last), states[last])
    assert not torch.equal(lens.translate(states[0], 0), states[0])


def test_files_are_what_was_saved_or_refused(tmp_path: Path) -> None:
    translators = Translators(torch.randn(2, 4, 4), torch.randn(2, 4))
    file = tmp_path / "tuned.safetensors"
    translators.save(file, {"train": ["q1"]})
    again = Translators.load(file, 2, 4)
    assert torch.equal(again.weights, translators.weights)
    assert torch.equal(again.biases, translators.biases)
    with pytest.raises(SourceError, match=r"translators of shape \(2, 4, 4\), but the model has 3 blocks of width 4"):
        Translators.load(file, 3, 4)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(SourceError, match="its SHA-256 is"):
        Translators.load(file, 2, 4)
    with pytest.raises(SourceError, match="no tuned lens"):
        Translators.load(tmp_path / "none.safetensors", 2, 4)
