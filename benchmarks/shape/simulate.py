"""Simulated studies whose curve is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lenscore.analysis.shape.curve import Curve


@dataclass(frozen=True)
class Design:
    """A study to simulate.

    A question has 1 to 4 answer tokens. A token is right at a position with a probability that depends on the
    question and the position. Its depth is 0 for most tokens, and else a whole number from an over-dispersed
    distribution whose mean varies from question to question. Most depths are the same at every position of the gold
    document; the others are sampled per position, with the question's own noise there. The effect adds a Poisson number
    of that mean.

    Attributes:
        effect: at each position, the layers that it adds to the mean depth, from 0. Flat if all are equal.
        accuracy: at each position, the probability that an average question's token is right.
        questions: how many.
        zeros: share of depths that are 0 before the effect, in an average question.
        depth: mean of the other depths, layers.
        between: standard deviation of the log of a question's own mean depth.
        within: standard deviation of the log of its mean depth at one position about that.
        same: probability that a depth is the one that the token has elsewhere.
    """

    effect: tuple[float, ...] = (0.0,) * 5
    accuracy: tuple[float, ...] = (0.7,) * 5
    questions: int = 100
    zeros: float = 0.7
    depth: float = 8.0
    between: float = 0.7
    within: float = 0.3
    same: float = 0.7

    def simulate(self, generator: np.random.Generator) -> Curve:
        """Draw a study."""
        places = np.linspace(0, 1, len(self.effect))
        n_tokens = generator.integers(1, 5, size=self.questions)
        token_question = np.repeat(np.arange(self.questions), n_tokens)
        shape = (len(token_question), len(places))

        ease = generator.normal(size=self.questions)[token_question, np.newaxis]
        right = generator.random(shape) < _logistic(_logit(np.array(self.accuracy)) + ease)

        nonzero = _logistic(-_logit(np.array([self.zeros])) + generator.normal(size=self.questions))
        own = _lognormal(generator, self.between, (self.questions, 1))
        here = _lognormal(generator, self.within, (self.questions, len(places)))
        mean = self.depth * own[token_question]
        usual = self._depths(generator, nonzero[token_question, np.newaxis], mean)
        resampled = self._depths(generator, nonzero[token_question, np.newaxis], mean * here[token_question])
        depth = np.where(generator.random(shape) < self.same, usual, resampled)
        depth = depth + generator.poisson(np.broadcast_to(self.effect, shape))

        token, place = np.nonzero(right)
        return Curve.from_tokens(token_question[token], places[place], depth[token, place].astype(float))

    @staticmethod
    def _depths(
        generator: np.random.Generator, nonzero: Float[np.ndarray, "tokens 1"], mean: Float[np.ndarray, "tokens any"]
    ) -> Int[np.ndarray, "tokens any"]:
        spread = generator.gamma(2, 1 / 2, mean.shape)
        return np.asarray((generator.random(mean.shape) < nonzero) * generator.poisson(mean * spread))


def _logit(probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.log(probability / (1 - probability)))


def _logistic(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _lognormal(generator: np.random.Generator, spread: float, shape: tuple[int, int]) -> Float[np.ndarray, "a b"]:
    """Draw factors of mean 1."""
    return np.asarray(np.exp(generator.normal(-(spread**2) / 2, spread, shape)))
