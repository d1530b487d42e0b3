"""The shape of a curve against position: contrasts, regressions, two lines, and the rule that names a shape.

Error rates of the rule were measured on simulated studies (docs/shape-tests.md): measure them anew after a change.
"""
