"""The ledger: who owes what to whom, to the micro-dollar.

Lives here: the chart of accounts, the rules by which transfers change accounts, the audit.
May not live here: databases, clocks, dice, logs, or any knowledge of jobs and markets.
"""
