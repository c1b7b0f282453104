"""The chart of accounts: every account is a path, and the path alone says how it is policed.

assets:budget:<cost centre>               a wallet: what a cost centre was given and has not spent
expenses:gpu:<cost centre>:<provider>     what machines cost it
limit:<cost centre>                       memorandum: what may be spent at this level and below
used:<cost centre>                        memorandum: what was spent at this level and below
equity:funding                            where the wallets' money comes from
equity:limit                              where the limits come from
equity:overdraft                          let through by budgets that only observe or recommend
equity:shortfall                          owed beyond every hold; stays 0 in a healthy run
equity:rounding:<currency>                what exchanges round away
assets:liquidity:<currency>               the bridge that money crosses to another currency

The memorandum pair enforces the limits of a cost centre's ancestors. A hold on a child's wallet is
matched by one hold from `limit:` to `used:` at each level above, so that no subtree outspends its
top however its wallets were filled, and no real money is counted twice.
"""

from typing import Final

from treasury.domain.errors import BadValue
from treasury.domain.transfer import AccountPolicy

FUNDING: Final = "equity:funding"
LIMIT_FUNDING: Final = "equity:limit"
OVERDRAFT: Final = "equity:overdraft"
SHORTFALL: Final = "equity:shortfall"

_WALLET: Final = "assets:budget:"
_EXPENSE: Final = "expenses:gpu:"
_LIMIT: Final = "limit:"
_USED: Final = "used:"


def _part(what: str, name: str) -> str:
    """A name as one part of a path. A colon in it would make two accounts out of one path."""
    if not name or ":" in name:
        raise BadValue(what, name, "a name that is not empty and has no ':' in it")
    return name


def wallet(cost_centre: str) -> str:
    """The account a cost centre pays from. Raises BadValue for a name with a colon."""
    return _WALLET + _part("cost centre", cost_centre)


def expense(cost_centre: str, provider: str) -> str:
    """The account of what a provider's machines cost a cost centre. Raises BadValue."""
    return f"{_EXPENSE}{_part('cost centre', cost_centre)}:{_part('provider', provider)}"


def limit(cost_centre: str) -> str:
    """The memorandum account of what may still be spent at a level. Raises BadValue."""
    return _LIMIT + _part("cost centre", cost_centre)


def used(cost_centre: str) -> str:
    """The memorandum account of what was spent at a level. Raises BadValue."""
    return _USED + _part("cost centre", cost_centre)


def liquidity(currency: str) -> str:
    """The bridge account of a currency. Raises BadValue for a name with a colon."""
    return "assets:liquidity:" + _part("currency", currency)


def rounding(currency: str) -> str:
    """The account of what exchanges into a currency round away. Raises BadValue."""
    return "equity:rounding:" + _part("currency", currency)


def policy_of(path: str) -> AccountPolicy:
    """Wallets and limits may not be overdrawn; every other account is free."""
    if path.startswith((_WALLET, _LIMIT)):
        return AccountPolicy.LIMITED
    return AccountPolicy.FREE
