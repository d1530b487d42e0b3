"""The study's DuckDB file: loaded in one transaction, proved complete, then put in its place."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from lenscore.contexts.questions import Document, Question
from lenscore.contexts.tables import ANSWERS_IN_DISTRACTORS, CONTEXTS, LEFT_OUT
from lenscore.databases import WRITE_AHEAD_LOG
from lenscore.errors import StoreError, shown_name
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.files import written_whole
from lenscore.records import MOST_BLOCKS, identity_mismatch, made_from, read_schema, read_table, shard_facts
from lenscore.store.ablations import AblationShard, check_ablation_shards, check_ablations, insert_ablations
from lenscore.store.lenses import insert_divergences, insert_lens_texts
from lenscore.store.rows import insert_rows
from lenscore.store.texts import insert_documents, insert_token_counts, insert_vocabulary, set_token_classes

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ContextShard:
    """The files of one shard of a context set."""

    context_set: str
    shard: int
    contexts: Path
    left_out: Path
    answers_in_distractors: Path


@dataclass(frozen=True)
class RecordShard:
    """The files of one extraction job."""

    model: str
    context_set: str
    shard: int
    records: Path
    answer_tokens: Path
    fits: Path

    def __str__(self) -> str:
        return f"model {self.model}, context set {self.context_set}, shard {self.shard} ({self.records})"


@dataclass(frozen=True)
class ModelEntry:
    """What the database says of a model, and where its files are.

    Attributes:
        model: its name in the study.
        dtype: of weights and states.
        matmul: how its matrices were multiplied.
        folder: its files and manifest.
        divergences: by trained lens, the file of its divergences.
        lens_manifests: by trained lens, its manifest, which names its texts.
    """

    model: str
    dtype: str
    matmul: str
    folder: Path
    divergences: Mapping[str, Path] = field(default_factory=dict)
    lens_manifests: Mapping[str, Path] = field(default_factory=dict)


def load_database(
    target: Path,
    *,
    study: Mapping[str, Any],
    questions: Iterable[Question],
    documents: Iterable[Document],
    models: Sequence[ModelEntry],
    lenses: Sequence[str],
    context_shards: Sequence[ContextShard],
    record_shards: Sequence[RecordShard],
    ablation_shards: Sequence[AblationShard] = (),
    scopes: Sequence[str] = (),
    replacements: Sequence[str] = (),
    threads: int | None = None,
    memory_gb: float | None = None,
) -> None:
    """Build a study's database beside ``target``, prove it complete, and rename it.

    Args:
        target: the .duckdb file.
        study: key → JSON-able value, the rows of table ``study``.
        questions: the dataset's questions, among which are the study's.
        documents: the dataset's documents, among which are all that stand in the study's contexts.
        models: the study's models.
        lenses: the study's lenses.
        context_shards: every shard of every context set.
        record_shards: every shard of every model × context set.
        ablation_shards: those of them that were ablated.
        scopes: of the study's ablations.
        replacements: of the study's ablations.
        threads: that DuckDB may use; None: one a processor.
        memory_gb: that DuckDB may use, beside which it takes to the disk; None: most of the machine's.

    Raises:
        StoreError: a shard is missing, doubled, or not what its place says; a context × answer
            token × lens × layer, or an ablated context's answer token × scope × variant, is missing or doubled.
            The shard is named, and the target untouched.
    """
    made = _made_from(models, context_shards)
    _check_shards(record_shards, made)
    check_ablation_shards(ablation_shards, made)
    limits = {"threads": threads, "memory_limit": None if memory_gb is None else f"{memory_gb} GB"}
    config: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    # What a session that was killed had not yet written into an earlier database belongs to that one alone.
    with (
        written_whole(target, beside_target=[WRITE_AHEAD_LOG]) as beside,
        duckdb.connect(str(beside), config=config) as connection,
    ):
        connection.execute("begin transaction")
        connection.execute((_HERE / "schema.sql").read_text(encoding="utf-8"))
        connection.executemany("insert into study values (?, ?)", [(k, json.dumps(v)) for k, v in study.items()])
        _insert_models(connection, models, record_shards)
        dataset = list(questions)
        for model in models:
            insert_divergences(connection, model.model, model.divergences)
            insert_lens_texts(connection, model.model, model.lens_manifests, dataset)
        _insert_questions(connection, dataset, context_shards)
        for contexts in context_shards:
            _insert_contexts(connection, contexts)
        for records in record_shards:
            _insert_job(connection, records)
        for model in models:
            _insert_records(connection, model.model, [shard for shard in record_shards if shard.model == model.model])
        for ablations in ablation_shards:
            insert_ablations(connection, ablations)
        _check_completeness(connection, lenses, record_shards)
        check_ablations(connection, scopes=scopes, replacements=replacements, shards=ablation_shards)
        insert_documents(connection, documents)
        for model in models:
            tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
            set_token_classes(connection, model.model, tokenizer)
            insert_vocabulary(connection, model.model, tokenizer)
            insert_token_counts(connection, model.model, tokenizer)
        for view in sorted((_HERE / "views").glob("*.sql"), key=lambda path: int(path.name.partition("_")[0])):
            connection.execute(view.read_text(encoding="utf-8"))
        connection.execute("commit")
        connection.execute("checkpoint")


def _made_from(
    models: Sequence[ModelEntry], context_shards: Sequence[ContextShard]
) -> dict[tuple[str, str, int], dict[str, str]]:
    """Return, for each shard of the study, from which contexts and model its results should have been made."""
    return {
        (model.model, shard.context_set, shard.shard): made_from(shard.contexts, model.folder)
        for model in models
        for shard in context_shards
    }


def _check_shards(record_shards: Sequence[RecordShard], made: Mapping[tuple[str, str, int], Mapping[str, str]]) -> None:
    given: set[tuple[str, str, int]] = set()
    for shard in record_shards:
        identity = (shard.model, shard.context_set, shard.shard)
        if identity in given:
            raise StoreError(f"{shard}: given twice; each shard is loaded once")
        if identity not in made:
            raise StoreError(f"{shard}: no such shard in the study")
        given.add(identity)
        for path in (shard.records, shard.answer_tokens, shard.fits):
            if not path.is_file():
                raise StoreError(f"{shard}: {path} is missing; extract the shard anew")
        if fault := identity_mismatch(shard.records, identity, made[identity]):
            raise StoreError(f"{shard}: {fault}; extract the shard anew")
    if missing := sorted(made.keys() - given):
        names = "; ".join(f"model {m}, context set {c}, shard {s}" for m, c, s in missing)
        raise StoreError(f"{len(missing)} shard{'s are' if len(missing) > 1 else ' is'} missing: {names}")


def _insert_models(
    connection: duckdb.DuckDBPyConnection, models: Sequence[ModelEntry], shards: Sequence[RecordShard]
) -> None:
    for model in models:
        manifest = json.loads((model.folder / "manifest.json").read_text(encoding="utf-8"))
        facts = next(shard_facts(shard.records) for shard in shards if shard.model == model.model)
        row = [facts[key] for key in ("family", "n_layers", "hidden_size", "vocabulary_size", "window")]
        connection.execute(
            "insert into models values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [model.model, *row, model.dtype, model.matmul, manifest["source"], json.dumps(manifest)],
        )


def _insert_questions(
    connection: duckdb.DuckDBPyConnection, dataset: Iterable[Question], shards: Sequence[ContextShard]
) -> None:
    """Insert the questions that have contexts or were left out, with their places in the study's order."""
    places: dict[str, int] = {}
    for shard in shards:
        for file, schema in ((shard.contexts, CONTEXTS), (shard.left_out, LEFT_OUT)):
            columns = read_table(file, schema, columns=["question_id", "question_place"]).to_pydict()
            for name, place in zip(columns["question_id"], columns["question_place"], strict=True):
                if places.setdefault(name, place) != place:
                    raise StoreError(
                        f"{file}: question {shown_name(name)} has place {place} in the study's order, and "
                        f"{places[name]} in another file; build the contexts anew"
                    )
    questions = {question.question_id: question for question in dataset if question.question_id in places}
    if missing := sorted(places.keys() - questions.keys()):
        raise StoreError(
            f"{len(missing)} questions of contexts are not in the dataset, the first is {shown_name(missing[0])}: "
            "build the contexts anew from the dataset as it is now"
        )
    rows = [
        (
            name,
            place,
            questions[name].question,
            list(questions[name].answers),
            questions[name].topic,
            gold.title if (gold := questions[name].gold) else None,
            gold.text if gold else None,
        )
        for name, place in sorted(places.items(), key=lambda item: item[1])
    ]
    columns = ["question_id", "place", "question", "answers", "topic", "gold_title", "gold_text"]
    insert_rows(connection, "questions", columns, rows)


def _insert_contexts(connection: duckdb.DuckDBPyConnection, shard: ContextShard) -> None:
    contexts = read_table(shard.contexts, CONTEXTS)
    left_out = read_table(shard.left_out, LEFT_OUT)
    place = f"context set {shard.context_set}, shard {shard.shard} ({shard.contexts})"
    if set(contexts["context_set"].to_pylist()) - {shard.context_set}:
        raise StoreError(f"{place}: holds contexts of another context set; build the shard anew")
    try:
        connection.register("new_contexts", contexts)
        connection.execute(
            """
            insert into contexts
            select context_id, context_set, $shard, question_id, condition, n_documents, distractor_order, gold_index,
                relative_position, array_to_string(list_transform(segments, lambda segment: segment.text), ''), answer,
                document_ids
            from new_contexts
            """,
            {"shard": shard.shard},
        )
        connection.register("new_left_out", left_out)
        connection.execute("insert into left_out_questions select context_set, question_id, reason from new_left_out")
        connection.register("new_answers", read_table(shard.answers_in_distractors, ANSWERS_IN_DISTRACTORS))
        connection.execute("insert into answers_in_distractors by name select * from new_answers")
    except duckdb.ConstraintException as error:
        raise StoreError(f"{place}: a context stands there that another shard holds too: {error}") from error


def _insert_job(connection: duckdb.DuckDBPyConnection, shard: RecordShard) -> None:
    """Insert what a job says of itself, of its contexts and of their answer tokens."""
    facts = shard_facts(shard.records)
    connection.execute(
        "insert into extractions values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            shard.model,
            shard.context_set,
            shard.shard,
            facts["device"],
            facts["attention"],
            facts["prefix_sharing"],
            facts["self_check_difference"],
            json.dumps(facts["versions"]),
        ],
    )
    for table, path, schema in (("fits", shard.fits, FITS), ("answer_tokens", shard.answer_tokens, ANSWER_TOKENS)):
        _check_columns(shard, path, schema)
        try:
            _insert_files(connection, table, schema, shard.model, [path])
        except duckdb.ConstraintException as error:
            raise StoreError(f"{shard}: {path} has rows that are doubled, or of contexts unknown: {error}") from error


def _insert_records(connection: duckdb.DuckDBPyConnection, model: str, shards: Sequence[RecordShard]) -> None:
    """Insert a model's layer records, of all shards at once: a file alone keeps but one thread busy."""
    for shard in shards:
        _check_columns(shard, shard.records, LAYER_RECORDS)
    try:
        _insert_files(connection, "layer_records", LAYER_RECORDS, model, [shard.records for shard in shards])
    except duckdb.ConstraintException as error:
        for shard in shards:
            table = pq.read_table(shard.records)
            if empty := [name for name in table.column_names if table[name].null_count]:
                raise StoreError(
                    f"{shard}: {shard.records} has no value in some rows of {', '.join(empty)}; extract it anew"
                ) from error
        raise


def _check_columns(shard: RecordShard, path: Path, schema: pa.Schema) -> None:
    found = read_schema(path)
    if not found.equals(schema):
        raise StoreError(f"{shard}: {path} has columns {found.names}, expected {schema.names}; extract it anew")


def _insert_files(
    connection: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, model: str, paths: Sequence[Path]
) -> None:
    columns = ", ".join(schema.names)
    connection.execute(
        f"insert into {table} (model, {columns}) select $model, {columns} from read_parquet($paths)",
        {"model": model, "paths": [str(path) for path in paths]},
    )


# One pass over the records: what stands there of each answer token × lens. Layers are counted as the bits of a number,
# which has room for those that a model may have; sets of them would take ten times as long.
_FOUND = f"""
    create temp table found as
    select model, context_id, answer_index, lens, count(*) as n_rows, min(layer) as lowest, max(layer) as highest,
        bit_count(bit_or(case when layer between 0 and {MOST_BLOCKS} then 1::hugeint << layer end)) as n_layers,
        min(target_id) as least_target, max(target_id) as greatest_target, bool_and(isfinite(target_logprob)) as finite
    from layer_records group by all
"""

# Each query finds the contexts with a fault, with what is wrong about them.
_FAULTS = {
    "contexts without a row in fits": """
        select m.model, c.context_id from models m cross join contexts c
        anti join fits f on f.model = m.model and f.context_id = c.context_id
    """,
    "contexts that fit but have no answer tokens, or are skipped and have some": """
        select f.model, f.context_id from fits f
        left join answer_tokens t using (model, context_id)
        group by f.model, f.context_id, f.fit having (f.fit = 'skipped') <> (count(t.answer_index) = 0)
    """,
    "contexts whose answer tokens are not numbered 0, 1, …": """
        select model, context_id from answer_tokens
        group by all having min(answer_index) <> 0 or max(answer_index) <> count(*) - 1
    """,
    "contexts with a layer record missing, doubled or too many": """
        with wanted as (
            select t.model, t.context_id, t.answer_index, l.lens, m.n_layers
            from answer_tokens t join models m using (model) cross join (select unnest($lenses) as lens) l
        )
        select coalesce(w.model, f.model), coalesce(w.context_id, f.context_id)
        from wanted w full join found f using (model, context_id, answer_index, lens)
        where not coalesce(
            f.n_rows = w.n_layers + 1 and f.n_layers = w.n_layers + 1 and f.lowest = 0 and f.highest = w.n_layers, false
        )
    """,
    "answer tokens whose layer records have another target": """
        select f.model, f.context_id from found f join answer_tokens t using (model, context_id, answer_index)
        where f.least_target <> t.token_id or f.greatest_target <> t.token_id
    """,
    "answer tokens with a log-probability that is no number": "select model, context_id from found where not finite",
}


def _check_completeness(
    connection: duckdb.DuckDBPyConnection, lenses: Sequence[str], shards: Sequence[RecordShard]
) -> None:
    """Prove that every context × answer token × lens × layer stands in the database exactly once."""
    connection.execute(_FOUND)
    by_identity = {(shard.model, shard.context_set, shard.shard): shard for shard in shards}
    for fault, query in _FAULTS.items():
        rows = connection.execute(
            f"select f.model, f.context_id, c.context_set, c.shard from ({query}) f(model, context_id) "
            "left join contexts c using (context_id) order by all",
            {"lenses": list(lenses)} if "$lenses" in query else {},
        ).fetchall()
        if rows:
            model, context_id, context_set, number = rows[0]
            shard = by_identity.get((model, context_set, number), "no shard of the study")
            raise StoreError(
                f"{len(rows)} {fault}; the first is {shown_name(context_id)} of {shard}: extract that shard anew"
            )
