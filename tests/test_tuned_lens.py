"""The tuned lens: translators that lower KL on texts never seen, kept apart from the study's questions."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from lenscore.contexts.distractors import DistractorSource
from lenscore.contexts.questions import Document, Question, reserved_golds, study_order
from lenscore.errors import ConfigError, SourceError
from lenscore.files import write_json
from lenscore.lenses.divergences import LENS_DIVERGENCES
from lenscore.lenses.files import TrainedLens, read_lens
from lenscore.lenses.overlap import refuse_overlap
from lenscore.lenses.texts import LensTexts, lens_texts
from lenscore.lenses.training import _Fitter, divergences, least_squares, train_lens
from lenscore.lenses.tuned import Translators, TunedLens, load
from lenscore.models.loading import LoadedModel
from lenscore.models.unembedding import Unembedding
from lenscore.study.tuned_lens import TunedLensSpec
from tests.tiny_models import tiny_model, token_ids
from tests.tiny_tokenizers import of_characters

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
    with pytest.raises(ConfigError, match=r"questions: \d+ of 30 questions that the study asks are among the 15"):
        refuse_overlap(texts.question_ids, [question.question_id for question in questions])
    with pytest.raises(ConfigError, match=r"has 26 gold documents that belong to one question alone; lower tuned_lens"):
        lens_texts(questions, 0, 20, 7)


def test_texts_that_are_distractors_of_some_question_are_taken_last() -> None:
    """Of 36 single passages, the last 18 of the order come first; every other of them is a distractor of question 0."""
    plain = dataset(40)
    shared = {"q0", "q1", "q2", "q3"}
    single = [question.question_id for question in study_order(plain, 0) if question.question_id not in shared]
    last = single[18:]
    drawn = set(last[::2])
    own = tuple(Document(f"q0/{name}", "t", question.gold.text)
                for name in drawn for question in plain if question.question_id == name and question.gold)  # fmt: skip
    questions = [replace(plain[0], distractors=own), *plain[1:]]
    free = [name for name in last if name not in drawn]
    few = lens_texts(questions, 0, 3, 2)
    assert set(few.question_ids) == set(free[-5:])
    # More than are free: all that are, and the last of the others.
    many = lens_texts(questions, 0, len(free), 2)
    assert set(many.question_ids) == {*free, *[name for name in last if name in drawn][-2:]}


@pytest.mark.parametrize("distractors", ["bm25", "random"])
def test_texts_of_a_large_dataset_stand_in_no_context(distractors: Literal["bm25", "random"]) -> None:
    """A thousand gold documents: the last 250 are the lens's alone; one fewer, and none are reserved."""
    words = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "willow", "yew"]
    golds = [Document(f"q{i}", "t", f"{words[i % 13]} {words[i % 11]} a{i} b") for i in range(1000)]
    rows = [Question(gold.document_id, f"where is {words[i % 13]} {words[i % 7]}", (f"a{i} b",), None, gold, ())
            for i, gold in enumerate(golds)]  # fmt: skip
    order = [question.question_id for question in study_order(rows, 3)]
    assert reserved_golds(rows, 3) == set(order[-250:])
    assert reserved_golds(rows[1:], 3) == frozenset()
    texts = lens_texts(rows, 3, 200, 50)
    assert set(texts.question_ids) == set(order[-250:])

    def drawn(reserved: Collection[str]) -> set[str]:
        source = DistractorSource(distractors, rows, 0, reserved=reserved)
        return {document.document_id for question in study_order(rows, 3)[:100]
                for document in source.distractors_of(question, 19).documents}  # fmt: skip

    assert not drawn(reserved_golds(rows, 3)) & set(texts.question_ids)
    # Without them reserved, many are drawn.
    assert len(drawn(()) & set(texts.question_ids)) > 100
    # More than are reserved: the last others too.
    assert set(order[-250:]) < set(lens_texts(rows, 3, 300, 50).question_ids) == set(order[-350:])


def test_other_seeds_are_measured_beside_the_lens_and_leave_it_as_it_is() -> None:
    loaded = LoadedModel.of(tiny_model("llama"))
    tokenizer = of_characters()
    documents = [Document(f"d{i}", "t", "abc cab bca"[i % 5 :] + " bac" * (i % 3 + 1)) for i in range(30)]
    texts = LensTexts(documents[:20], documents[20:25], documents[25:])
    settings = TunedLensSpec(steps=8, batch=16, tokens_per_document=4)
    alone = train_lens(loaded, tokenizer, texts, settings)
    three = train_lens(loaded, tokenizer, texts, settings.model_copy(update={"seeds": 3}))
    assert alone.others == ()
    assert torch.equal(three.translators.weights, alone.translators.weights)
    assert torch.equal(three.lens_kl, alone.lens_kl)
    first, second = (other.lens_kl for other in three.others)
    assert not torch.equal(first, alone.lens_kl)
    assert not torch.equal(first, second)
    # At L every lens is the model.
    assert first[-1] == second[-1] == 0


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


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The folder of a model, as far as a lens looks at it: the hashes of its files."""
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "manifest.json", {"files": {"model.safetensors": "a", "tokenizer.json": "b"}})
    return folder


@pytest.fixture
def lens_file(tmp_path: Path, model_folder: Path) -> Path:
    """A tuned lens of two layers of width 4, as its training writes it."""
    tensors = {"weights": torch.randn(2, 4, 4), "biases": torch.randn(2, 4)}
    manifest = json.loads((model_folder / "manifest.json").read_text())
    file = tmp_path / "tuned.safetensors"
    trained = TrainedLens(tensors, pa.Table.from_pylist([], schema=LENS_DIVERGENCES), {"model": manifest})
    trained.write(file, file.with_suffix(".json"), tmp_path / "divergence.parquet")
    return file


def test_a_lens_is_read_as_it_was_written(lens_file: Path, model_folder: Path) -> None:
    before = load_file(lens_file)
    found = read_lens(lens_file, model_folder)
    assert found.keys() == before.keys() == {"weights", "biases"}
    assert all(torch.equal(found[name], before[name]) for name in found)


def test_a_lens_that_is_not_what_its_manifest_says_is_refused(lens_file: Path, model_folder: Path) -> None:
    tensors = load_file(lens_file)
    save_file({**tensors, "biases": tensors["biases"] + 1}, lens_file)
    with pytest.raises(SourceError, match="its SHA-256 is"):
        read_lens(lens_file, model_folder)
    with pytest.raises(SourceError, match="not a trained lens"):
        read_lens(lens_file.with_name("none.safetensors"), model_folder)


@pytest.mark.parametrize(
    ("files", "differing"),
    [
        ({"model.safetensors": "other", "tokenizer.json": "b"}, "model.safetensors differ"),
        ({"model.safetensors": "a"}, "tokenizer.json differ"),
    ],
)
def test_a_lens_of_another_model_is_refused(
    lens_file: Path, model_folder: Path, files: dict[str, str], differing: str
) -> None:
    write_json(model_folder / "manifest.json", {"files": files})
    with pytest.raises(SourceError, match=f"was trained for another model than model: {differing}; train the lens"):
        read_lens(lens_file, model_folder)


def test_a_lens_of_another_shape_is_refused(lens_file: Path, model_folder: Path) -> None:
    loaded = LoadedModel.of(tiny_model("gpt2"))
    with pytest.raises(SourceError, match=r"has tensors of shapes .*\(2, 4, 4\).*; the model needs"):
        load(loaded, model_folder, lens_file)
