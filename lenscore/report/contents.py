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
        "Refinement depth by the gold document's position",
        "Refinement depth is the number of layers from the first at which the answer token is the lens's top choice to "
        "the one from which it stays so, over the answer tokens that the last layer gets right. Points are means; "
        "bands are bootstrap intervals over questions. Relative position 0 is the first document, 1 the last.",
    ),
    "accuracy_curve": ChartEntry(
        "accuracy_curve",
        "Accuracy by the gold document's position",
        "How often the last layer's top choice is the answer token, with the answer's earlier tokens given. "
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
        "Two targets, two populations",
        "Variants of the main curve. Left, refinement depth (the target is the right answer); right, own-token "
        "refinement depth (the target is the last layer's top choice). “Each position's own”: the tokens that are "
        "right at that position (for own-token refinement depth, all tokens), so the tokens change along the curve. "
        "“The same everywhere”: only tokens that are right at every position, so nothing but the position changes. "
        "Below, first answer tokens only.",
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
        "among all tokens of the study's documents. Settled layer and refinement depth are over tokens that the last "
        "layer gets right; “right, then lost again” is the share of the tokens right at some layer that are wrong at a "
        "later one.",
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
        "first; at the last layer both lenses are the model.",
    ),
}

# The table of the chosen contexts. A rule of its own makes it.
EXAMPLES = "examples"
