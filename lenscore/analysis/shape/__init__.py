"""The shape of a curve against position: contrasts, regressions, two lines, and the rule that names the shape.

The error rates of the rule were measured on simulated studies (docs/shape-tests.md): measure them again after a change.
"""
