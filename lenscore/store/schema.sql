-- The tables of a study's database. Words and units: docs/definitions.md; columns: docs/database.md.

create table study (
    key varchar primary key,
    value json not null
);

create table models (
    model varchar primary key,
    family varchar not null,
    n_layers integer not null,       -- L: layers run from 0, the embedding output, to L
    hidden_size integer not null,
    vocabulary_size integer not null,
    attention_window integer,        -- longest context in tokens, null where there is no limit
    dtype varchar not null,
    matmul varchar not null,         -- exact, or bf16: matrices' products rounded to bfloat16
    source varchar not null,
    manifest json not null           -- revision and the SHA-256 of every file
);

create table lens_divergences (      -- how far each trained lens is from the model, on documents outside the study
    model varchar not null references models,
    lens varchar not null,
    training integer not null,       -- 0: the study's lens; 1, 2, …: the same with other seeds
    layer integer not null,
    logit_kl float not null,         -- KL(model ‖ logit lens), nats, mean over n_tokens held-out tokens
    lens_kl float not null,          -- KL(model ‖ this lens) on the same
    best_step integer,               -- of the training, at which it was best; 0: its start; null at L
    n_tokens integer not null,
    primary key (model, lens, training, layer)
);

create table lens_texts (            -- the documents of each trained lens: gold documents of questions outside the study
    model varchar not null references models,
    lens varchar not null,
    part varchar not null check (part in ('train', 'validation', 'held_out')),
    document_id varchar not null,    -- its question's id
    document_text varchar not null,
    primary key (model, lens, document_id)
);

create table questions (
    question_id varchar primary key,
    place integer not null unique,   -- in the study's seeded order, from 0
    question varchar not null,
    answers varchar[] not null,
    topic varchar,
    gold_title varchar,
    gold_text varchar
);

create table contexts (
    context_id varchar primary key,
    context_set varchar not null,
    shard integer not null,
    question_id varchar not null references questions,
    condition varchar not null check (condition in ('documents', 'shuffled_gold', 'oracle', 'closed_book')),
    n_documents integer not null,
    distractor_order integer not null,  -- 0: the set's own; 1, 2, …: drawn
    gold_index integer,              -- in shuffled_gold the place of the document in the gold one's stead
    relative_position double,
    prompt varchar not null,         -- its segments' texts, before any cut and any chat template
    answer varchar not null,
    document_ids varchar[] not null
);

create table documents (             -- every document that stands in some context
    document_id varchar primary key, -- of a gold document: its question's id
    title varchar not null,
    document_text varchar not null
);

create table left_out_questions (    -- no accepted answer in the gold document
    context_set varchar not null,
    question_id varchar not null references questions,
    reason varchar not null,
    primary key (context_set, question_id)
);

create table answers_in_distractors (  -- the dataset's own distractors that hold an accepted answer
    context_set varchar not null,
    question_id varchar not null references questions,
    document_id varchar not null,
    dropped boolean not null,        -- false: it is in contexts
    primary key (context_set, question_id, document_id)
);

create table extractions (           -- one row a job
    model varchar not null references models,
    context_set varchar not null,
    shard integer not null,
    device varchar not null,
    attention varchar not null,
    prefix_sharing varchar not null, -- 'shared', or why contexts were run one by one, or that none were run
    self_check_difference double,    -- largest |lens at layer L − model's own logit|; null if all was skipped
    versions json not null,
    primary key (model, context_set, shard)
);

create table fits (                  -- how each context met each model's window
    model varchar not null references models,
    context_id varchar not null references contexts,
    fit varchar not null check (fit in ('whole', 'cut', 'skipped')),
    n_tokens integer not null,
    n_tokens_cut integer not null,
    n_prompt_tokens integer,         -- up to the token that predicts the answer's first; null if skipped
    gold_distance integer,           -- tokens from the first of the gold document to that one; null where not known
    reason varchar,
    primary key (model, context_id)
);

create table answer_tokens (
    model varchar not null references models,
    context_id varchar not null references contexts,
    answer_index integer not null,
    token_id integer not null,
    token_text varchar not null,
    token_position integer not null,
    border_merged boolean not null,
    token_class varchar check (          -- set for every token, once all are loaded and proved complete
        token_class in ('space', 'punctuation', 'digit', 'function word', 'word start', 'word part')
    ),
    primary key (model, context_id, answer_index)
);

-- Keyed by (model, context_id, answer_index, lens, layer). The loader proves the key once, by
-- counting; an index over all rows would cost more than the rows themselves.
create table layer_records (
    model varchar not null,
    context_id varchar not null,
    answer_index integer not null,
    lens varchar not null,
    layer integer not null,
    top1_id integer not null,
    top1_logprob float not null,
    target_id integer not null,
    target_logprob float not null,
    target_rank integer not null,
    entropy float not null,
    own_token_logprob float not null, -- of layer L's top-1
    kl_to_final float not null,      -- KL(model ‖ lens), nats
    jsd_to_final float not null,     -- Jensen–Shannon divergence of the two, nats, at most ln 2
    topk_ids integer[] not null,
    topk_logprobs float[] not null
);

-- Keyed by (model, context_id, answer_index, scope, replacement, block); proved as above, without an index.
create table ablations (
    model varchar not null,
    context_id varchar not null,
    answer_index integer not null,
    scope varchar not null check (scope in ('all', 'answer', 'documents', 'gold', 'examples', 'question')),
    replacement varchar not null check (replacement in ('none', 'skip', 'mean', 'resample')),
    block integer not null,          -- 1 … L; 0 with 'none': the intact model
    top1_id integer not null,
    top1_logprob float not null,
    target_id integer not null,
    target_logprob float not null,
    target_rank integer not null,
    kl_from_intact float not null    -- KL(intact ‖ ablated), nats
);

create table vocabulary (            -- the text of every token that a row of this database names
    model varchar not null references models,
    token_id integer not null,
    token_text varchar not null,
    primary key (model, token_id)
);

create table token_counts (          -- how often each token stands in the texts of the documents, each counted once
    model varchar not null references models,
    token_id integer not null,
    n integer not null,
    primary key (model, token_id)
);
