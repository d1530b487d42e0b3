"""A dataset of questions on animals, each with a document of its own and none besides."""

from lenscore.contexts.questions import Document, Question

ANIMALS = ["ant", "bear", "cat", "dog", "eel", "fox", "goat", "hare", "ibis", "jay", "kite", "lynx", "mole", "newt"]


def animal(name: str) -> Question:
    text = f"The {name} of this zoo was born in the year {1900 + ANIMALS.index(name)}, as the keeper wrote."
    gold = Document(f"q-{name}", name.title(), text)
    return Question(f"q-{name}", f"when was the {name} born", (f"{1900 + ANIMALS.index(name)}",), "zoo", gold, ())


ZOO = [animal(name) for name in ANIMALS]
