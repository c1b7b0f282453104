"""Markets that rent capacity: one adapter each, registered under `treasury.providers`.

Lives here: a market's calls, its capabilities as numbers, one table from its error codes to ours.
May not live here: decisions, budgets, or anything of the agent but its ports and its domain.
"""
