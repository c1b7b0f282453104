"""From a snapshot to decisions: market index, deadline arithmetic, integer problem, OR-Tools,
reasons.

Lives here: what strategies share about fitting and pricing offers and about deadlines, the
translation of a snapshot into an integer problem, its greedy start, the CP-SAT solve and the
words for what was left out. May not live here: the book, the guard, the ledger (their law holds
whatever is proposed here), clocks, dice. OR-Tools is imported by `cpsat` alone, on the first
solve.
"""
