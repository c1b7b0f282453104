"""The nouns: immutable values and the legal moves between their states.

Lives here: money, time, identifiers, hardware, market, jobs, leases, plans, events, errors.
May not live here: input or output of any kind, clocks, dice, logs, databases.

`money`, `time`, `ids` and `errors` need nothing but the standard library, so that what runs
on a leased machine can use them. The other modules are `msgspec.Struct`s: frozen values that
are cheap to build and whose JSON form (field order, tags) is the journal's wire format.
"""
