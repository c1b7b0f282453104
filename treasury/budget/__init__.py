"""Budgets: policies as data, and the guard that judges every spending request against the present.

Lives here: pure functions over the levels of a cost centre's tree as the engine reports them.
May not live here: the ledger's state, clocks, or any way around the guard.
"""
