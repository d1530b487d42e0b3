"""What the report shows, in order. The Snakefile reads it too, so it imports nothing heavy."""

from typing import NamedTuple


class ChartEntry(NamedTuple):
    """One chart of the report.

    Attributes:
        table: name of the table that it draws.
        heading: of its section on the page.
        caption: how to read it.
    """

    table: str
    heading: str
    caption: str


CHARTS: dict[str, ChartEntry] = {
    "refinement_curve": ChartEntry(
        "refinement_curve",
        "Depth by the gold document's position",
        "The primary measure, over the tokens that the study's config names. Refinement depth is the number of layers "
        "from the first at which the answer token is the lens's top choice to the one from which it stays so; soft "
        "depth adds up, over the layers, the share of its final probability that it still lacks; docs/definitions.md "
        "has the others. Points are means; bands are bootstrap intervals over questions, of each position by itself, "
        "where the tests compare the positions of each question. Relative position 0 is the first document, 1 the "
        "last.",
    ),
    "accuracy_curve": ChartEntry(
        "accuracy_curve",
        "Accuracy by the gold document's position",
        "How often the last layer's top choice is the answer token, with the answer's earlier tokens given. First "
        "tokens: each answer's first content token, with a letter or digit (its very first if analysis.first_token is "
        "any). "
        "Dashed level lines: closed book (no documents) and oracle (the gold document alone); dotted lines: "
        "shuffled gold (another document in place of the gold one), where the study has them.",
    ),
    "depth_curves": ChartEntry(
        "refinement_curve",
        "The two layers behind refinement depth, and the depth of the model's own token",
        "Refinement depth is the settled layer minus the first-correct layer. Own-token refinement depth is the same "
        "with the last layer's top choice as the target instead of the right answer, over all answer tokens, right or "
        "wrong. Means with bootstrap intervals over questions.",
    ),
    "other_measures": ChartEntry(
        "refinement_curve",
        "Other measures of depth",
        "Above, of the answer token: soft depth adds up, layer by layer, the share of its final probability that it "
        "still lacks, over the tokens that the last layer gets right; refinement depth at top 5 and 10 counts a layer "
        "as right where the answer token is among the five or ten most probable, over the tokens that end so. "
        "Below, of the model's own token, over all answer tokens: its soft depth, the layer from which it stays the "
        "top choice, and the layer from which the lens's whole distribution stays close to the last layer's by "
        "Jensen–Shannon divergence. Means with bootstrap intervals over questions.",
    ),
    "depth_shares": ChartEntry(
        "refinement_curve",
        "Depth in shares of the model's layers",
        "The primary measure divided by the number of the model's layers, so that models of different depths can be "
        "compared: a colour is a model (and a context set, where there are several). Points are means, bands bootstrap "
        "intervals over questions.",
    ),
    "layers_reached": ChartEntry(
        "layers_reached",
        "Where answer tokens become right, and where they settle",
        "Shares of the answer tokens that the last layer gets right, by the layer at which each first is the top "
        "choice and by the one from which it stays so, over the positions that are shown. Layer 0 is the embedding "
        "output.",
    ),
    "right_by_layer": ChartEntry(
        "right_by_layer",
        "How often each layer is right, by position",
        "Each cell is a layer and a position of the gold document: the share of all answer tokens that are the lens's "
        "top choice there. The top row is the model's own accuracy.",
    ),
    "entropy_by_layer": ChartEntry(
        "entropy_by_layer",
        "How uncertain each layer is, by position",
        "The mean entropy of the lens's distribution at the tokens that predict the answer: 0 is certainty. A line is "
        "a position of the gold document; bands are bootstrap intervals over questions.",
    ),
    "frequent_top1": ChartEntry(
        "frequent_top1",
        "How often a layer's top choice is a frequent token",
        "The share of answer tokens at which the lens's top choice is one of the ten, or hundred, most frequent tokens "
        "of the study's documents, with bootstrap intervals over questions. At the last layer the top choice is the "
        "model's.",
    ),
    "lens_grid": ChartEntry(
        "examples",
        "Single contexts, layer by layer",
        "A column is an answer token, a row a layer; the word in a cell is the lens's top choice there. Outlines mark "
        "the layer at which the answer token first is the top choice, and the one from which it stays so. A dot stands "
        "for a space, ↵ for a line break, \\x… for a byte that is no text by itself.",
    ),
    "essential_layers": ChartEntry(
        "essential_layers",
        "What each layer does",
        "Grey bars: all positions; points: the gold document in one part of the context. Shares are of answer tokens "
        "that the last layer gets right; the rise is that of the answer token's log-probability from the layer before. "
        "These are observations: they do not show that a layer is needed. The last row, in studies with ablation, is "
        "causal: by how much the answer token's log-probability falls when the block that puts out the layer is "
        "ablated, over all answer tokens of the ablated contexts, with bootstrap intervals over questions.",
    ),
    "populations": ChartEntry(
        "refinement_curve",
        "Two targets, four populations",
        "Variants of the main curve. Left, refinement depth (the target is the right answer); right, own-token "
        "refinement depth (the target is the last layer's top choice). “Each position's own”: the tokens that are "
        "right at that position (for own-token refinement depth, all tokens), so the tokens change along the curve. "
        "“The same everywhere”: only tokens that are right at every position, so nothing but the position changes. "
        "“First token right”, “answer right”: at each position, tokens of the answers whose first token, or every "
        "token, is right there. Rows: all answer tokens; content tokens, which hold a letter or digit; each answer's "
        "first content token (its very first token if analysis.first_token is any).",
    ),
    "specification_curve": ChartEntry(
        "specification_curve",
        "Every way of asking",
        "A point is a way of asking whether the curve bends (middle less ends) or tilts (slope): a measure, a choice "
        "of tokens, a population, a lens. Ways stand in the order of their estimates, with their own intervals, not "
        "corrected for their number; the ring marks the primary analysis, which was named before.",
    ),
    "controls": ChartEntry(
        "controls",
        "What the documents do",
        "Contexts with the gold document minus a control, on the same answer tokens, with bootstrap intervals over "
        "questions; depths are averaged over positions. Right of zero: more right, more probable, or deeper than in "
        "the control. Refinement depth is over the tokens that the last layer gets right in both.",
    ),
    "depth_by_group": ChartEntry(
        "depth_by_group",
        "Depth by kind of answer token",
        "Means with bootstrap intervals over questions, in contexts with documents. Frequency is the token's rank "
        "among all tokens of the study's documents. The class is by the token's text: white space, punctuation, "
        "digits, English function words, starts and later parts of words. Place: the answer's first content token (its "
        "very first if analysis.first_token is any), what leads up to it, and later ones. Settled layer and refinement "
        "depth are over tokens that the last layer gets right; “right, then lost again” is the share of the tokens "
        "right at some layer that are wrong at a later one.",
    ),
    "flips": ChartEntry(
        "flips",
        "Where right tokens are lost again",
        "Shares of all answer tokens that are the top choice at the layer before but not at this one (lost), and that "
        "become it again after they were lost (won back).",
    ),
    "lens_divergence": ChartEntry(
        "lens_divergence",
        "How far the lens is from the model",
        "KL divergence of the lens's distribution from the model's final one, layer by layer: at the study's answer "
        "tokens, in contexts with documents, with bootstrap intervals over questions; and, where a lens is trained, on "
        "held-out documents of questions outside the study. The tuned lens applies a trained affine map to a layer "
        "first, the trimmed lens removes the largest 1% of its coordinates; at the last layer every lens is the model.",
    ),
}

# The table of the chosen contexts. A rule of its own makes it.
EXAMPLES = "examples"
