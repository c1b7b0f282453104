"""The prior that ships: what pools do on average, before anything is known of one.

Learned by `learn.learn_prior` from the development half of the public "Can't Be Late" probes: eight
pools of October 2022 counted three times, since they change oftener and are fewer, and nine pools
of early 2023. The shipped numbers are reproduced by a test where those data are at hand.
"""

from typing import Final

from treasury.forecast.hazards import Prior, Regime

POOLED: Final = Prior(
    loss=(
        0.016596,
        -0.300255,
        -0.030551,
        0.813676,
        -0.13134,
        -0.189347,
        -0.020506,
        0.03913,
    ),
    back=(
        -0.038433,
        -0.736408,
        1.370768,
        0.097838,
        0.65354,
        0.394935,
        -0.115721,
        -0.072027,
    ),
    mean=Regime(loss=-2.587390981406312, back=-2.0957969932658993),
    low=Regime(loss=-5.022236915494992, back=-4.283286723459427),
    high=Regime(loss=-0.9742401483414888, back=-0.5178527574805085),
)
