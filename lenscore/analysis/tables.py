"""All tables of a study, from its database."""

from pathlib import Path
from typing import Any

import pandas as pd

from lenscore.analysis.ablation import block_effects, lens_against_cause
from lenscore.analysis.bootstrap import Bootstrap
from lenscore.analysis.controls import controls
from lenscore.analysis.curves import accuracy_curve, refinement_curve
from lenscore.analysis.decomposition import depth_decomposition
from lenscore.analysis.divergences import lens_divergence
from lenscore.analysis.findings import busiest_layers
from lenscore.analysis.groups import depth_by_group
from lenscore.analysis.layers import (
    entropy_by_layer,
    essential_layers,
    flips_by_layer,
    frequent_top1,
    layers_reached,
    right_by_layer,
    with_causes,
    with_rises,
)
from lenscore.analysis.orders import order_variance
from lenscore.analysis.shape.study_shapes import disagreements, shapes_of_study
from lenscore.analysis.specification_curve import specification_curve
from lenscore.analysis.token_classes import token_class_counts
from lenscore.analysis.tokens import answer_tokens
from lenscore.databases import opened
from lenscore.study.analysis import AnalysisSpec

_COVERAGE = """
    select f.model, c.context_set, c.condition, c.n_documents,
        count(*) as n_contexts,
        count(*) filter (where f.fit = 'whole') as n_whole,
        count(*) filter (where f.fit = 'cut') as n_cut,
        count(*) filter (where f.fit = 'skipped') as n_skipped,
        count(distinct c.question_id) as n_questions,
        count(distinct c.question_id) filter (where f.fit = 'skipped') as n_questions_skipped,
        avg(f.n_tokens) filter (where f.fit <> 'skipped') as mean_tokens,
        max(f.n_tokens) filter (where f.fit <> 'skipped') as most_tokens,
        avg(f.n_tokens_cut) filter (where f.fit = 'cut') as mean_tokens_cut,
        coalesce(any_value(l.n_left_out), 0) as n_questions_left_out,
        coalesce(any_value(a.n_kept), 0) as n_distractors_with_answer,
        coalesce(any_value(a.n_dropped), 0) as n_distractors_dropped
    from fits f
    join contexts c using (context_id)
    left join (
        select context_set, count(*) as n_left_out from left_out_questions group by context_set
    ) l on l.context_set = c.context_set
    left join (
        select context_set, count(*) filter (where not dropped) as n_kept, count(*) filter (where dropped) as n_dropped
        from answers_in_distractors group by context_set
    ) a on a.context_set = c.context_set
    group by f.model, c.context_set, c.condition, c.n_documents
    order by all
"""


def study_tables(database: Path, settings: AnalysisSpec) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the study's tables by name, and its findings: JSON-able values for the sentences of the report.

    Args:
        database: of the study.
        settings: of the statistics.
    """
    bootstrap = Bootstrap(settings.resamples, settings.confidence, settings.seed)
    with opened(database) as connection:
        tokens = answer_tokens(connection, settings.jsd_threshold, settings.first_token)
        layers = with_rises(connection.execute("select * from context_layers order by all").df())
        held_out = connection.execute("select * from lens_divergences order by all").df()
        at_answers = connection.execute("select * from answer_divergences order by all").df()
        overlap = connection.execute(
            "select *, n_trained_on / n_places as share_trained_on from lens_overlap order by all"
        ).df()
        frequent = connection.execute("select * from frequent_top1 order by all").df()
        ablations = connection.execute("select * from ablation_sums order by all").df()
        ablated = connection.execute("select distinct model, context_id from ablations").df()
        coverage = connection.execute(_COVERAGE).df()
    essential = essential_layers(layers, settings.regions)
    effects = block_effects(ablations, bootstrap, settings.regions)
    shapes = shapes_of_study(tokens, settings)
    tables = {
        "refinement_curve": refinement_curve(tokens, bootstrap, settings.primary),
        "shapes": shapes,
        "specification_curve": specification_curve(tokens, settings),
        "accuracy_curve": accuracy_curve(tokens, bootstrap),
        "depth_by_group": depth_by_group(tokens, bootstrap),
        "flips": flips_by_layer(layers, bootstrap),
        "controls": controls(tokens, settings.confidence),
        "lens_divergence": lens_divergence(held_out, at_answers, bootstrap),
        "lens_overlap": overlap,
        "depth_decomposition": depth_decomposition(tokens, bootstrap),
        "order_variance": order_variance(tokens, bootstrap),
        "layers_reached": layers_reached(layers, bootstrap),
        "right_by_layer": right_by_layer(layers, bootstrap),
        "entropy_by_layer": entropy_by_layer(layers, bootstrap),
        "frequent_top1": frequent_top1(frequent, bootstrap),
        "essential_layers": with_causes(essential, effects),
        "block_effects": effects,
        "lens_against_cause": lens_against_cause(layers.merge(ablated), ablations, bootstrap),
        "token_classes": token_class_counts(tokens),
        "coverage": coverage,
    }
    findings = {
        "settings": settings.model_dump(mode="json"),
        "disagreements": disagreements(shapes),
        "busiest_layers": busiest_layers(essential),
    }
    return tables, findings
