"""What every workflow job shares: its log, the time it spends in the model and the lens, the checkout it runs from.

None of it can change a result, so that none of it makes a result stale (``lenscore.plan.code_versions``).
"""
