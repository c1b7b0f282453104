"""Pretend worlds: traces, a world with its own truth and meter, replay, checkers, reports.

Lives here: everything that plays the market to the production engine. May not live here:
any copy of the engine's rules. The engine never learns that it is simulated.
"""
