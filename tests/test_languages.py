"""A study in Chinese from its start to the report, where paths have spaces, quotes, braces and another script.

The checkout's own path has no braces: Snakemake takes them for wildcards.
"""

import json
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.conftest import Checkout, copy_project

pytestmark = pytest.mark.slow

# Question, answer, title, text; the answers stand beside letters, digits, punctuation and quotes.
QUESTIONS = [
    ("山上的寺庙是哪一年建成的？", "1625年", "寺庙", "山上的寺庙于1625年建成，用了三年。"),
    ("谁写了这封信？", "老船长", "信", "这封信是老船长写的。"),
    ("湖里最多的鱼是什么鱼？", "鲤鱼", "湖", "湖里最多的是鲤鱼，其次是草鱼。"),
    ("钟楼有多高？", "四十米", "钟楼", "钟楼高四十米。"),
    ("面包师几点起床？", "凌晨三点", "面包师", "面包师每天凌晨三点起床。"),
    ("茶叶来自哪个村子？", "梅家村", "茶叶", "这种茶叶来自“梅家村”。"),
    ("谁修好了钟楼的钟？", "老船长", "钟", "后来，老船长修好了钟楼的钟。"),
    ("冬天湖上有什么？", "薄冰", "冬天", "冬天：薄冰盖住了湖。"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path) -> Checkout:
    folder = tmp_path_factory.mktemp("checkout") / "a 'b' 数据"
    folder.mkdir()
    checkout = copy_project(folder)
    rows = [
        dict(zip(("question", "answers", "title", "text"), (q, [a], t, x), strict=True)) for q, a, t, x in QUESTIONS
    ]
    name = "q 'r' {s} 问题.jsonl"
    (folder / name).write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (folder / "model").symlink_to(tiny_gpt2)
    config = {
        "study": "chinese",
        "dataset": {"source": f"path:{name}"},
        "questions": 8,
        "shard_size": 4,
        "context_sets": {"main": {"documents": [3], "positions": "all", "distractors": "bm25", "overflow": "skip"}},
        "lenses": ["logit", "trimmed"],
        "models": {"tiny": {"source": "path:model"}, "at-random": {"source": "path:model", "weights": "untrained"}},
        "analysis": {"resamples": 100, "permutations": 99},
    }
    checkout.run(checkout.write_config(config, "study {x} 'y' 研究.yaml"))
    return checkout


def test_every_question_has_its_contexts_and_its_records(run: Checkout) -> None:
    assert (run.folder / "results/chinese/report/index.html").stat().st_size > 0
    with duckdb.connect(str(run.folder / "results/chinese/chinese.duckdb"), read_only=True) as database:
        answers = database.sql(
            "select question, trim(answer), count(*) from contexts join questions using (question_id) group by all"
        ).fetchall()
        records = database.sql("select count(*) from layer_records").fetchall()
        left_out = database.sql("select count(*) from left_out_questions").fetchall()
    assert sorted(answers) == sorted((question, answer, 3) for question, answer, _, _ in QUESTIONS)
    assert records > [(0,)]
    assert left_out == [(0,)]


def test_no_distractor_holds_the_answer(run: Checkout) -> None:
    with duckdb.connect(str(run.folder / "results/chinese/chinese.duckdb"), read_only=True) as database:
        pairs = database.sql(
            "select trim(answer), document_text from contexts, unnest(document_ids) as u(document_id) "
            "join documents using (document_id) where document_id <> question_id"
        ).fetchall()
    assert len(pairs) == 8 * 3 * 2
    assert not [pair for pair in pairs if pair[0] in pair[1]]


def test_another_lens_and_untrained_weights_reach_the_page(run: Checkout) -> None:
    results = run.folder / "results/chinese"
    with duckdb.connect(str(results / "chinese.duckdb"), read_only=True) as database:
        records = "select * from layer_records where lens = '{}' and layer {} 2 order by all"
        last, inner = ([database.sql(records.format(lens, sign)).df().drop(columns="lens")
                        for lens in ("logit", "trimmed")] for sign in ("=", "<"))  # fmt: skip
    assert len(last[0]) > 0
    assert last[0].equals(last[1])  # at layer L every lens is the model
    assert not inner[0]["entropy"].equals(inner[1]["entropy"])
    divergence = pd.read_parquet(results / "tables/lens_divergence.parquet")
    parts = set(divergence[["model", "lens", "measured_on"]].itertuples(index=False, name=None))
    assert parts == {(model, lens, "answers") for model in ("tiny", "at-random") for lens in ("logit", "trimmed")}
    page = (results / "report/index.html").read_text(encoding="utf-8")
    assert "at-random (untrained weights)" in page
    assert "through the logit and trimmed lens" in page
