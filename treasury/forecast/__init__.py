"""What markets are likely to do next: estimators that strategies and rightsizing share.

Lives here: hazards of losing and of regaining capacity by pool, with forgetting and mixing by
posterior; the prior they start from and how it is learned; price levels; scores of calibration. May
not live here: decisions, input or output, clocks, dice. Probabilities are floats computed by the
same operations in the same order, so that a replay sees what a live run saw; what is remembered of
a pool is a `msgspec.Struct` that can be written down and taken up again.
"""
