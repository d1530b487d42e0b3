"""What ``lenscore`` exports: a prompt read layer by layer, beside the model's own code; a study's results opened."""

import html
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from transformers import GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import lenscore
from lenscore.models.packed_linears import PackedLinear
from lenscore.models.unembedding import Unembedding
from tests.conftest import ROOT
from tests.small_study import SmallStudy
from tests.tiny_gguf import write_gguf
from tests.tiny_models import tiny_model
from tests.tiny_tokenizers import chat_like

PROMPT, ANSWER = "The tower of Paris is in", " the city of Paris"


@pytest.fixture(scope="module")
def plain(tiny_gpt2: Path) -> GPT2LMHeadModel:
    return GPT2LMHeadModel.from_pretrained(tiny_gpt2).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_gpt2: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny_gpt2)


@pytest.fixture(scope="module")
def model(tiny_gpt2: Path) -> lenscore.Model:
    return lenscore.load(tiny_gpt2)


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=450, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def distributions(plain: GPT2LMHeadModel, ids: list[int]) -> torch.Tensor:
    """Return log-probabilities (layers, tokens, vocabulary) by the model's own modules alone."""
    found = plain(torch.tensor([ids]), output_hidden_states=True)
    early = [plain.lm_head(plain.transformer.ln_f(state[0])) for state in found.hidden_states[:-1]]
    return torch.stack([*early, found.logits[0]]).log_softmax(-1)


def test_a_reading_is_what_the_models_own_head_makes_of_every_layer(
    model: lenscore.Model, plain: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    reading = model.read(PROMPT, ANSWER)
    ids = tokenizer(PROMPT + ANSWER).input_ids
    n_prompt = len(tokenizer(PROMPT).input_ids)
    assert [token.token_id for token in reading.tokens] == ids[n_prompt:]
    assert "".join(token.token for token in reading.tokens) == ANSWER
    expected = distributions(plain, ids)[:, n_prompt - 1 : -1]
    table = reading.table()
    assert list(table.columns) == [
        "layer", "index", "position", "token_id", "token", "part", "top1", "top1_id", "top1_probability", "probability",
        "rank", "entropy", "kl", "jsd",
    ]  # fmt: skip
    assert len(table) == 3 * len(reading.tokens)
    for row in table.itertuples():
        logprobs = expected[row.layer, row.index]
        assert row.position == n_prompt + row.index
        assert row.part == "answer"
        assert row.top1_id == logprobs.argmax()
        assert row.top1 == tokenizer.decode([row.top1_id])
        assert row.probability == pytest.approx(logprobs[row.token_id].exp().item(), rel=1e-4)
        assert row.rank == 1 + (logprobs > logprobs[row.token_id]).sum()
        assert row.entropy == pytest.approx(-(logprobs.exp() * logprobs).sum().item(), rel=1e-4)
        final = expected[-1, row.index]
        assert row.kl == pytest.approx((final.exp() * (final - logprobs)).sum().item(), abs=1e-5)


def test_without_an_answer_the_models_own_next_token_is_read(
    model: lenscore.Model, plain: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = tokenizer(PROMPT).input_ids
    reading = model.read(PROMPT)
    (token,) = reading.tokens
    assert (token.part, token.position) == ("own", len(ids))
    expected = distributions(plain, ids)[:, -1]
    assert token.token_id == expected[-1].argmax()
    assert reading.table()["probability"].tolist() == pytest.approx(
        expected[:, token.token_id].exp().tolist(), rel=1e-4
    )
    assert reading.table()["rank"].iloc[-1] == 1


@pytest.mark.parametrize("answer", [None, ANSWER])
def test_all_tokens_are_read_if_they_are_asked_for(
    model: lenscore.Model, plain: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, answer: str | None
) -> None:
    ids = tokenizer(PROMPT + (answer or "")).input_ids
    reading = model.read(PROMPT, answer, tokens="all")
    n_prompt = len(tokenizer(PROMPT).input_ids)
    parts = ["prompt"] * (n_prompt - 1) + (["own"] if answer is None else ["answer"] * (len(ids) - n_prompt))
    assert [token.part for token in reading.tokens] == parts
    expected = distributions(plain, ids)[:, :, :]
    first = reading.table().query("index == 0")
    assert first["probability"].tolist() == pytest.approx(expected[:, 0, ids[1]].exp().tolist(), rel=1e-4)


def test_several_prompts_are_read_as_one_by_one_and_in_their_order(model: lenscore.Model) -> None:
    prompts = [f"{PROMPT} {word}" for word in ("Rome", "Paris", "the", "a")] * 10 + ["A city"]
    answers = [ANSWER, None] * 20 + [" is"]
    together = model.read_all(prompts, answers)
    assert len(together) == len(prompts)
    for prompt, answer, found in zip(prompts, answers, together, strict=True):
        alone = model.read(prompt, answer)
        assert found.tokens == alone.tokens
        pd.testing.assert_frame_equal(found.table(), alone.table(), rtol=1e-3, atol=1e-5)
    assert model.read_all([]) == []


def test_depths_are_those_of_the_sql_views(tmp_path: Path) -> None:
    """The hand-worked study's records as readings, beside what the database makes of them."""
    study = SmallStudy(tmp_path)
    study.load()
    opened = lenscore.open_study(study_folder(study))
    records = opened.sql("from layer_records order by model, lens, context_id, answer_index, layer")
    views = opened.sql("from token_depths").set_index(["model", "lens", "context_id", "answer_index"])
    seen = 0
    for key, rows in records.groupby(["model", "lens", "context_id", "answer_index"]):
        found, expected = reading_of(rows).depths().iloc[0], views.loc[key]
        for column in ("final_right", "first_correct_layer", "settled_layer", "refinement_depth", "soft_depth"):
            if pd.isna(expected[column]):
                assert pd.isna(found[column]), (key, column)
            else:
                assert found[column] == pytest.approx(expected[column], abs=1e-9), (key, column)
        seen += 1
    assert seen > 10


def study_folder(study: SmallStudy) -> Path:
    (study.folder / "tables").mkdir(exist_ok=True)
    return study.folder


def reading_of(rows: pd.DataFrame) -> lenscore.Reading:
    from lenscore.extraction.statistics import LensStatistics
    from lenscore.notebook.reading import ReadToken

    def column(name: str, kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(rows[name].to_numpy(copy=True), dtype=kind)[:, None]

    target = int(rows["target_id"].iloc[0])
    top1 = column("top1_id", torch.long)
    # The records of a study may have ties; right is what the views call right.
    rank = column("target_rank", torch.long)
    numbers = dict.fromkeys(("entropy", "own_token_logprob", "kl_to_final", "jsd_to_final"), torch.zeros(len(rows), 1))
    statistics = LensStatistics(
        top1_id=top1, top1_logprob=column("top1_logprob", torch.float32),
        target_logprob=column("target_logprob", torch.float32), target_rank=rank,
        topk_ids=top1[..., None], topk_logprobs=column("top1_logprob", torch.float32)[..., None], **numbers,
    )  # fmt: skip
    return lenscore.Reading("m", "logit", (ReadToken(5, target, "x", "answer"),), statistics, {})


def test_a_model_in_hand_stays_as_it_was(tiny_gpt2: Path, model: lenscore.Model) -> None:
    own = GPT2LMHeadModel.from_pretrained(tiny_gpt2)
    own.train()
    own.transformer.h[0].eval()
    modules = {name: (id(module), module.training) for name, module in own.named_modules()}
    weights = {name: weight.clone() for name, weight in own.state_dict().items()}
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in own.modules())
    attention = own.config._attn_implementation
    read = lenscore.load(own, tokenizer=PreTrainedTokenizerFast.from_pretrained(tiny_gpt2))
    table = read.read(PROMPT, ANSWER).table()
    read.ablate(PROMPT, ANSWER)
    pd.testing.assert_frame_equal(table, model.read(PROMPT, ANSWER).table(), rtol=1e-4, atol=1e-6)
    assert {name: (id(module), module.training) for name, module in own.named_modules()} == modules
    assert all(torch.equal(weight, weights[name]) for name, weight in own.state_dict().items())
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in own.modules()) == hooks
    assert own.config._attn_implementation == attention
    assert own(torch.tensor([[1, 2, 3]])).logits.requires_grad


def test_a_model_in_hand_may_be_packed(tiny_gpt2: Path, model: lenscore.Model) -> None:
    own = GPT2LMHeadModel.from_pretrained(tiny_gpt2)
    packed = lenscore.load(own, tokenizer=PreTrainedTokenizerFast.from_pretrained(tiny_gpt2), pack=True)
    found = packed.read(PROMPT, ANSWER).table()
    assert any(isinstance(module, PackedLinear) for module in own.modules())
    pd.testing.assert_frame_equal(found, model.read(PROMPT, ANSWER).table(), rtol=1e-4, atol=1e-6)


def test_a_gguf_file_is_de_quantised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSCORE_HOME", str(tmp_path / "home"))
    meant = write_gguf(tmp_path / "tiny.gguf", tensors_a_file=12)
    part = min(tmp_path.glob("tiny-*.gguf"))
    read = lenscore.load(part, pack=False)
    weights = read._run.loaded.model.state_dict()
    assert all(np.allclose(weights[name].numpy(), values, atol=1e-6) for name, values in meant.items())
    (made,) = (tmp_path / "home" / "models").iterdir()
    before = made.stat().st_mtime_ns
    assert lenscore.load(part).read("a", " b").n_layers == 2
    assert [file.stat().st_mtime_ns for file in (tmp_path / "home" / "models").iterdir()] == [before]


def test_a_prompt_longer_than_the_window_is_refused(model: lenscore.Model, tokenizer: PreTrainedTokenizerFast) -> None:
    window = model._run.loaded.n_positions
    assert window is not None
    prompt = PROMPT
    while len(tokenizer(prompt + ANSWER).input_ids) <= window:
        prompt += " of Paris"
    with pytest.raises(lenscore.LenscoreError, match=f"but the model reads {window:,} at most"):
        model.read(prompt, ANSWER)


def test_a_block_is_skipped_as_a_plain_hook_skips_it(
    model: lenscore.Model, plain: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = model.ablate(PROMPT, ANSWER)
    ids = tokenizer(PROMPT + ANSWER).input_ids
    answer = ids[len(tokenizer(PROMPT).input_ids) :]
    assert found[["block", "index"]].to_numpy().tolist() == [[b, i] for b in (1, 2) for i in range(len(answer))]
    for block, layer in enumerate(plain.transformer.h, start=1):
        # A block's output is its input: what it adds is taken away.
        handle = layer.register_forward_hook(
            lambda _, args, output: (args[0], *output[1:]) if isinstance(output, tuple) else args[0]
        )
        expected = distributions(plain, ids)[-1, -len(answer) - 1 : -1]
        handle.remove()
        rows = found[found["block"] == block]
        for row in rows.itertuples():
            assert row.probability == pytest.approx(expected[row.index, answer[row.index]].exp().item(), rel=1e-3)
            assert row.cost == pytest.approx(math.log(row.intact_probability / row.probability), abs=1e-4)


def test_after_an_error_the_model_is_not_taken_unchecked(tiny_gpt2: Path) -> None:
    own = tiny_llama()
    own.config.final_logit_softcapping = 0.01  # a cap that the model's own code does not have
    read = lenscore.load(own, tokenizer=chat_like())
    for _ in range(2):
        with pytest.raises(lenscore.LenscoreError, match="does not give the model's own logits"):
            read.read("a", " b")


def test_a_chat_is_joined_by_the_models_template() -> None:
    read = lenscore.load(tiny_llama(), tokenizer=chat_like())
    turns = [{"role": "user", "content": "x"}]
    with pytest.raises(lenscore.LenscoreError, match="turn must be"):
        read.read([{"role": "user", "text": "x"}])
    text = chat_like().apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text != "x"
    pd.testing.assert_frame_equal(read.read(turns).table(), read.read(text).table())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda model: model.read(""), "the prompt is empty"),
        (lambda model: model.read(PROMPT, ""), "has no tokens"),
        (lambda model: model.read(PROMPT, lens="linear"), "lens: must be logit, trimmed, the .safetensors"),
        (lambda model: model.read(PROMPT, lens="none.safetensors"), "none.safetensors: not a trained lens"),
        (lambda model: model.read(PROMPT, tokens="some"), "tokens: must be answer or all; found 'some'"),
        (lambda model: model.read(PROMPT, top_k=0), "top_k: must be a whole number from 1 to 1000; found 0"),
        (lambda model: model.read_all(PROMPT), "must be lists"),
        (lambda model: model.read_all([PROMPT], ["a", "b"]), "answers: 2 are given for 1 prompts"),
        (lambda model: model.ablate(PROMPT, ANSWER, scope="gold"), "scope: must be all or answer"),
        (lambda model: lenscore.load("no/such/folder"), "is no folder, no GGUF file, and no name on the Hub"),
        (lambda model: lenscore.load("x", revision="main"), "revision: belongs to models on the Hub"),
        (lambda model: lenscore.load(tiny_model("llama")), "tokenizer: a model that is loaded already needs"),
        (lambda model: lenscore.load(tiny_model("llama"), tokenizer=chat_like()), "has embeddings for 131"),
        (lambda model: lenscore.load("x", tokenizer=chat_like()), "tokenizer: is for a model that is loaded already"),
        (lambda model: lenscore.load("x", dtype="int8"), "dtype: must be float32"),
        (lambda model: lenscore.load("x", device="tpu"), "device: must be auto"),
        (lambda model: lenscore.open_study("x"), "x: no results of a finished study"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(call: object, said: str, model: lenscore.Model) -> None:
    with pytest.raises(lenscore.LenscoreError) as found:
        call(model)  # type: ignore[operator]
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_a_lens_of_ones_own_reads_too(model: lenscore.Model) -> None:
    class Halved:
        def __init__(self, unembedding: Unembedding):
            self._unembedding = unembedding

        @property
        def unembedding(self) -> Unembedding:
            return self._unembedding

        def translate(self, states: torch.Tensor, layer: int) -> torch.Tensor:
            return states if layer == 2 else states / 2

    own = Halved(model._run.loaded.unembedding)
    reading = model.read(PROMPT, ANSWER, lens=own)
    assert reading.lens == "Halved"
    # A final norm takes its scale from the state itself.
    pd.testing.assert_frame_equal(
        reading.table(), model.read(PROMPT, ANSWER).table(), rtol=0.05, atol=0.05, check_exact=False
    )


def test_the_grid_is_drawn_for_notebooks_and_terminals(model: lenscore.Model) -> None:
    reading = model.read(PROMPT, ANSWER)
    drawn = reading._repr_html_()
    table = reading.table()
    assert drawn.count("<tr>") == 1 + 3  # head and layers
    assert drawn.count("<td") == len(table)
    assert drawn.count("2px solid") == (table["rank"] == 1).sum()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(reading)
    printed = console.export_text()
    assert all(f" {layer} " in printed or f"{layer} " in printed for layer in (0, 1, 2))
    best = table.query("layer == 2 and index == 0")
    assert html.escape(repr(best["top1"].item())) in drawn
    assert repr(reading).startswith("<Reading of ")


def test_the_package_starts_without_torch() -> None:
    code = (
        "import lenscore, sys; lenscore.open_study; assert 'torch' not in sys.modules; print(sorted(lenscore.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in lenscore.__all__:
        assert getattr(lenscore, name).__doc__, name
        assert name in done.stdout
    with pytest.raises(AttributeError, match="has no attribute 'lense'; it has LenscoreError"):
        lenscore.lense  # noqa: B018
