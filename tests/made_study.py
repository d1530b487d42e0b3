"""A made-up study that has all a report can show, and a page made of it."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from lenscore.analysis.examples import study_examples
from lenscore.analysis.tables import study_tables
from lenscore.contexts.questions import Document, Question
from lenscore.contexts.tables import ANSWERS_IN_DISTRACTORS, CONTEXTS, LEFT_OUT
from lenscore.lenses.divergences import LENS_DIVERGENCES
from lenscore.records import shard_facts, write_table
from lenscore.report.charts import CHART_FUNCTIONS
from lenscore.report.contents import CHARTS
from lenscore.report.page.render import render_page
from lenscore.store.database import ContextShard, ModelEntry
from lenscore.study.study import Study, read_study
from tests.small_study import OTHER, TARGET, WRONG, L, SmallStudy, ablation_rows, layer_rows

# Text that would run, load or break out, were it taken for anything but text.
EVIL = "<script>document.title = 'hit'</script>"
EVIL_TOKEN = "<img src=x onerror=\"document.title='hit'\">"
LENGTHS = (3, 5)
N_QUESTIONS = 12


class MadeStudy(SmallStudy):
    """Twelve questions, three and five documents, the gold one at every place; closed book; two models, two lenses."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.lenses = ["logit", "tuned"]
        words = {f"w{number}": number for number in range(10) if number != OTHER} | {EVIL_TOKEN: OTHER}
        tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
        tokenizer.save(str(folder / "models/tiny/tokenizer.json"))
        divergence = folder / "divergence.parquet"
        rows = [
            {
                "training": 0,
                "layer": layer,
                "logit_kl": 9.0 - 3 * layer,
                "lens_kl": 3.0 - layer,
                "best_step": layer,
                "n_tokens": 20,
            }
            for layer in range(L + 1)
        ]
        write_table(pa.Table.from_pylist(rows, schema=LENS_DIVERGENCES), divergence)
        texts = folder / "tuned.json"
        texts.write_text(json.dumps({"train": ["q0", "q1"], "validation": ["q2"], "held_out": ["q3"]}))
        self.models = [
            ModelEntry(name, "float32", "exact", folder / "models/tiny", {"tuned": divergence}, {"tuned": texts})
            for name in ("tiny", "twin")
        ]
        self.questions = [
            Question(f"q{i}", f"what is {i}? {EVIL}", ("w7",), None, Document(f"q{i}", f"title {EVIL}", "w7"), ())
            for i in range(N_QUESTIONS)
        ]
        self.documents = [question.gold for question in self.questions if question.gold]
        self.cells = [(n, place) for n in LENGTHS for place in range(n)]
        self.context_shards = [self.write_contexts(0)]
        self.rows = {0: self.made_rows()}
        tiny = self.write_records(0)
        twin = replace(tiny, model="twin", records=folder / "records-twin")
        facts = {**shard_facts(tiny.records), "model": "twin"}
        write_table(pq.read_table(tiny.records).replace_schema_metadata(None), twin.records, facts)
        self.record_shards = [tiny, twin]
        final = [
            row for row in self.rows[0] if row["layer"] == L and row["lens"] == "logit" and "/3/" in row["context_id"]
        ]
        self.ablation_shards = [self.write_ablations(0, [made for row in final for made in ablation_rows(row)])]

    def write_contexts(self, shard: int) -> ContextShard:
        if not hasattr(self, "cells"):
            return super().write_contexts(shard)
        rows = [
            self.context(number, n, place) for number in range(N_QUESTIONS) for n, place in [*self.cells, (0, None)]
        ]
        files = ContextShard(
            "main", shard, *(self.folder / f"{kind}-{shard}" for kind in ("contexts", "left-out", "answers"))
        )
        write_table(pa.Table.from_pylist(rows, schema=CONTEXTS), files.contexts)
        write_table(pa.Table.from_pylist([], schema=LEFT_OUT), files.left_out)
        write_table(pa.Table.from_pylist([], schema=ANSWERS_IN_DISTRACTORS), files.answers_in_distractors)
        return files

    def context(self, number: int, n: int, place: int | None) -> dict[str, Any]:
        return {
            "context_id": f"main/q{number}/{n}/{place}",
            "context_set": "main",
            "question_id": f"q{number}",
            "question_place": number,
            "condition": "documents" if n else "closed_book",
            "n_documents": n,
            "distractor_order": 0,
            "gold_index": place,
            "relative_position": None if place is None else place / (n - 1),
            "segments": [{"kind": "frame", "document": None, "role": None, "text": "say "}],
            "answer": " w7",
            "document_ids": [f"q{(number + other) % N_QUESTIONS}" for other in range(n)],
        }

    def made_rows(self) -> list[dict[str, Any]]:
        """Answer tokens that are right more often the deeper the layer, and lost now and then."""
        draw = random.Random(7)
        rows = []
        for number in range(N_QUESTIONS):
            for n, place in [*self.cells, (0, None)]:
                for index in (0, 1):
                    for lens in self.lenses:
                        final = TARGET if draw.random() < (0.8 if n else 0.3) else WRONG
                        early = [TARGET if draw.random() < 0.2 + 0.2 * layer else OTHER for layer in range(L)]
                        made = layer_rows(f"main/q{number}/{n}/{place}", index, [*early, final])
                        rows += [{**row, "lens": lens} for row in made]
        # At the last layer every lens is the model.
        last = {(r["context_id"], r["answer_index"]): r for r in rows if r["layer"] == L and r["lens"] == "logit"}
        return [
            {**last[row["context_id"], row["answer_index"]], "lens": row["lens"]} if row["layer"] == L else row
            for row in rows
        ]


def made_config(study: SmallStudy) -> dict[str, Any]:
    """Return the whole config of a loaded study."""
    counts = sorted({n for (n,) in study.query("select distinct n_documents from contexts where n_documents > 0")})
    config = {
        "study": "small",
        "dataset": {"source": "path:<b>questions</b>.jsonl"},
        "questions": len(study.questions),
        "context_sets": {"main": {"documents": counts, "positions": "all"}},
        "models": {model.model: {"source": "path:tiny"} for model in study.models},
        "lenses": study.lenses,
        "analysis": {"resamples": 200, "permutations": 199},
    }
    return Study.model_validate(config).model_dump(mode="json")


def write_page(study: SmallStudy, folder: Path) -> Path:
    """Write tables, charts and page of a loaded study as the workflow lays them out, and return the page.

    Its whole config lies beside them, as ``config.json``.
    """
    config = made_config(study)
    tables, findings = study_tables(study.target, read_study(config).statistics)
    tables["examples"] = study_examples(study.target, 1)
    facts = {
        "study": "small",
        "config": config,
        "dataset": {"source": EVIL, "files": {"questions.parquet": "d1935"}},
        "extraction_code": "c0de",
        "versions": {"snakemake": "9.27.1"},
    }
    with duckdb.connect(str(study.target)) as database:
        database.execute("delete from study")
        for key, value in facts.items():
            database.execute("insert into study values (?, ?)", [key, json.dumps(value)])
    for name in ("tables", "charts", "report"):
        (folder / name).mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"tables/{name}.parquet")
    (folder / "tables/findings.json").write_text(json.dumps(findings))
    for name, chart in CHARTS.items():
        # The page needs no pictures, which take as long again.
        spec = CHART_FUNCTIONS[name](tables[chart.table]).to_dict()
        (folder / f"charts/{name}.json").write_text(json.dumps(spec))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    page = folder / "report/index.html"
    page.write_text(render_page(study.target, folder / "tables", folder / "charts", config), encoding="utf-8")
    return page
