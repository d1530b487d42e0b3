"""The tuned lens: translators that lower KL on texts never seen, kept apart from the study's questions."""

from pathlib import Path

import pytest
import torch

from lenscore.contexts.questions import Document, Question, study_order
from lenscore.errors import ConfigError, SourceError
from lenscore.lenses.texts import lens_texts, refuse_overlap
from lenscore.lenses.training import _Fitter, divergences, least_squares
from lenscore.lenses.tuned import Translators, TunedLens
from lenscore.models.architecture import find_architecture
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
    architecture = find_architecture(model)
    handles = [block.register_forward_hook(lambda _, __, out: hidden.append(out[0] if isinstance(out, tuple) else out))
               for block in architecture.blocks]  # fmt: skip
    first = architecture.blocks[0].register_forward_pre_hook(
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
    return Unembedding.of(architecture), torch.cat(columns, dim=1)


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


def test_least_squares_is_the_weighted_regression(family: tuple[Unembedding, torch.Tensor]) -> None:
    _, states = family
    translators = least_squares(states)
    weight = states[-1].double().square().mean(-1).rsqrt()[:, None]
    for layer in range(len(states) - 1):
        translated = translators.translate(states[layer], layer).double()
        fitted = ((translated - states[-1].double()) * weight).square().sum()
        nothing = ((states[layer].double() - states[-1].double()) * weight).square().sum()
        assert fitted <= nothing


def test_training_lowers_the_divergence_and_is_seeded(family: tuple[Unembedding, torch.Tensor]) -> None:
    unembedding, states = family
    train, validation = states[:, :200], states[:, 200:]

    def fit(seed: int) -> Translators:
        return _Fitter(unembedding, train, validation, SETTINGS).fit(torch.Generator().manual_seed(seed))

    start = divergences(unembedding, least_squares(train), validation)
    trained = fit(0)
    found = divergences(unembedding, trained, validation)
    assert (found[:-1] <= start[:-1]).all()
    assert (found[:-1] < start[:-1]).any()
    assert torch.equal(fit(0).weights, trained.weights)


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
