"""The asynchronous shell around the pure step: the daemon's loop and its hands in the world.

Lives here: the turn loop, the inbox, feeds, dispatch with retries, listings and their circuit
breaker, the planner, leadership, reload, rehearsal, and the machine's own clock, dice and threads
(`clocks`), which reach everything else by injection. May not live here: decisions, databases,
vendors' code, logs and metrics (an `Observer` is told), and any question whether this is a
simulation.

Every `await` may be the last thing a process does: what must outlive it is committed before.
"""
