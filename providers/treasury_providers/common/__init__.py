"""What adapters share: tags, polite polling, threads, models of accelerators, prices, errors.

Lives here: mechanics that are the same whatever the market. May not live here: a vendor's calls,
codes or formats; an SDK. An adapter of a third party may stand on this room as ours do.
"""
