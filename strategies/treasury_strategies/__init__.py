"""What to do about a market: strategies, found by the entry points `treasury.strategies`.

Lives here: on_demand, greedy, uniform_progress, optimal, and the walk along the queue that the
first three share. May not live here: anything but pure functions of a snapshot and of what was seen
before. A strategy sees ports, domain, optimizer and forecast; it may be wrong, slow or hostile,
since the guard judges each action again.
"""
