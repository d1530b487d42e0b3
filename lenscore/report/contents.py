"""What the report shows, in its order: the Snakefile and the page read it, so it imports nothing heavy."""

from typing import NamedTuple


class ChartEntry(NamedTuple):
    """One chart of the report.

    Attributes:
        table: the table that it draws.
        heading: of its section.
        caption: how to read it.
    """

    table: str
    heading: str
    caption: str


CHARTS: dict[str, ChartEntry] = {
    "refinement_curve": ChartEntry(
        "refinement_curve",
        "Refinement depth by the gold document's position",
        "Refinement depth is the number of layers between the first at which the answer token is the lens's top choice "
        "and the one from which on it stays so, over the answer tokens that end right. Points are means; "
        "bands are bootstrap intervals over questions. Relative position 0 is the first document, 1 the last.",
    ),
    "accuracy_curve": ChartEntry(
        "accuracy_curve",
        "Accuracy by the gold document's position",
        "How often the last layer's top choice is the answer token, with the answer's earlier tokens given. "
        "Dashed level lines: closed book (no documents) and oracle (the gold document alone); dotted lines: "
        "shuffled gold (another document in the gold one's place), where the study has them.",
    ),
    "depth_curves": ChartEntry(
        "refinement_curve",
        "The two layers behind the depth, and the model's own choice",
        "Refinement depth is settled layer less first-correct layer. Own-token refinement depth is the same with the "
        "model's own final choice as the target, over all answer tokens, right or wrong. Means with "
        "bootstrap intervals over questions.",
    ),
    "layers_reached": ChartEntry(
        "layers_reached",
        "Where answer tokens become right, and where they settle",
        "Shares of the answer tokens that end right, by the layer at which each is first the top choice and by the one "
        "from which on it stays so, over the positions that are shown. Layer 0 is the embedding output.",
    ),
    "right_by_layer": ChartEntry(
        "right_by_layer",
        "How often each layer is right, by position",
        "Each cell is a layer and a place of the gold document: the share of all answer tokens that are the lens's top "
        "choice there. The top row is the model's own accuracy.",
    ),
    "lens_grid": ChartEntry(
        "examples",
        "Single contexts, layer by layer",
        "A column is an answer token, a row a layer; the word in a cell is the lens's top choice there. Outlines mark "
        "the layer at which the answer token is first the top choice, and the one from which on it stays so. A dot "
        "stands for a space, ↵ for a line break, \\x… for a byte that is no text by itself.",
    ),
    "essential_layers": ChartEntry(
        "essential_layers",
        "What each layer does",
        "Grey bars: all positions; points: the gold document in one part of the context. Shares are of answer tokens "
        "that end right; the rise is of the target's log-probability over the layer before. These are observations: "
        "they do not show that a layer is needed. The last row, in studies with ablation, is causal: by how much the "
        "target's log-probability falls when the block whose output is the layer is taken away, over all answer tokens "
        "of the ablated contexts, with bootstrap intervals over questions.",
    ),
    "populations": ChartEntry(
        "refinement_curve",
        "Two targets, two populations",
        "The same curve asked in other ways. Left, refinement depth (the right answer as the target); right, "
        "own-token refinement depth (the model's own final choice). “Each position's”: the tokens that are right at "
        "that position (for own-token refinement depth, all tokens), so that the tokens change along the curve. “Same "
        "everywhere”: only tokens that are right at every position, so that nothing but the position changes. "
        "Below, first answer tokens alone.",
    ),
    "controls": ChartEntry(
        "controls",
        "What the documents do",
        "Contexts with the gold document less a control, on the same answer tokens, with bootstrap intervals over "
        "questions; depths are averaged over positions. Right of zero: more right, more probable, or deeper than in "
        "the control. Refinement depth is over the tokens that end right on both sides.",
    ),
    "depth_by_group": ChartEntry(
        "depth_by_group",
        "Depth by what is to be predicted",
        "Means with bootstrap intervals over questions, in contexts with documents. Frequency is the token's rank "
        "among all tokens of the study's documents. Settled layer and refinement depth are over tokens that end right; "
        "“lost again” is the share, of tokens that are right at some layer, that is lost at a later one.",
    ),
    "flips": ChartEntry(
        "flips",
        "Where right tokens are lost again",
        "Shares of all answer tokens that are the top choice at the layer before and not at this one (lost), and that "
        "come back after they had been lost (won back).",
    ),
    "lens_divergence": ChartEntry(
        "lens_divergence",
        "How far the lens is from the model",
        "KL divergence of the lens's distribution from the model's final one, layer by layer, on held-out documents of "
        "questions outside the study. The tuned lens reads a layer through a trained affine map; at the last layer "
        "both are the model.",
    ),
}

# Chosen contexts: a table that a rule of its own makes.
EXAMPLES = "examples"

# Tables that no chart draws.
OTHER_TABLES = ("shapes", "order_variance", "block_effects", "lens_against_cause", "coverage")

# What the analysis makes.
TABLES = (*dict.fromkeys(chart.table for chart in CHARTS.values() if chart.table != EXAMPLES), *OTHER_TABLES)
