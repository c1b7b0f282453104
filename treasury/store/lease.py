"""Leadership: a row in the database says which process may write, and fences off every other.

The row has a holder, an epoch and an end. One statement takes it, renews it or takes it over, by
the database's clock alone. The epoch rises with each change of hands, and each transaction that
writes first looks whether its own is still the row's: one whose process was asleep, cut off or
believed dead cannot write, whatever it believes itself.
"""

import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from sqlalchemy import Connection, Executable, Select, and_, bindparam, case, or_, select

from treasury.domain.errors import Deposed, StoreError
from treasury.domain.time import SECOND
from treasury.store.database import Dialect
from treasury.store.tables import LEASE

# The engine's journal, and the writer of the shared ledger.
JOURNAL_ROLE: Final = "journal"
LEDGER_ROLE: Final = "ledger"
# How long a holder may be silent. Renewing at a third of it forgives two lost attempts.
TTL: Final = 60 * SECOND

_ROW = LEASE.c
_SEEN: Final = select(_ROW.holder, _ROW.epoch, _ROW.expires_at).where(
    _ROW.role == bindparam("role")
)


def _seek(dialect: Dialect) -> Executable:
    """The statement that takes, renews or takes over the lease, built once: that costs more than
    asking it."""
    now = dialect.now()
    row = dialect.insert(LEASE).values(
        role=bindparam("of"),
        holder=bindparam("who"),
        epoch=1,
        expires_at=now + bindparam("span", type_=_ROW.expires_at.type),
    )
    mine = and_(_ROW.holder == bindparam("who"), _ROW.epoch == bindparam("since"))
    silent = and_(_ROW.epoch == bindparam("seen_epoch"), _ROW.expires_at == bindparam("seen_end"))
    statement: Executable = row.on_conflict_do_update(
        index_elements=[_ROW.role],
        set_={
            "holder": row.excluded.holder,
            "epoch": case((mine, _ROW.epoch), else_=_ROW.epoch + 1),
            "expires_at": row.excluded.expires_at,
        },
        where=or_(mine, _ROW.expires_at <= now, silent),
    ).returning(_ROW.epoch)
    return statement


class Leadership:
    """One contender for one role. Every method is used inside a transaction that writes."""

    def __init__(
        self,
        dialect: Dialect,
        role: str,
        holder: str,
        *,
        ttl: int = TTL,
        tick: Callable[[], int] = time.perf_counter_ns,
        gone: Callable[[str], bool] | None = None,
    ) -> None:
        """holder: a name for people; two processes of one name are still told apart, by epoch.

        ttl: how long the holder may be silent [ns]. tick: a clock that only goes forward [ns].
        gone: whether the holder of a name is known to be dead: then its end is not waited for.
        """
        self.role, self.holder = role, holder
        self.epoch = 0
        self._dialect, self._ttl, self._tick = dialect, ttl, tick
        self._gone = gone
        # FOR SHARE: who takes over waits until the transactions in flight have ended.
        self._fence = (
            select(dialect.now())
            .where(
                _ROW.role == bindparam("of"),
                _ROW.holder == bindparam("who"),
                _ROW.epoch == bindparam("since"),
            )
            .with_for_update(read=True, of=LEASE)
        )
        self._seek = _seek(dialect)
        # The row as it was seen last, and when it was first seen so.
        self._seen: tuple[str, int, int] | None = None
        self._seen_at = 0

    def seek(self, connection: Connection) -> bool:
        """Take, renew or take over the lease; whether this contender holds it now.

        An expired lease is anyone's. So is one whose row has not changed for `ttl` by our own
        forward clock: the database's clock may have been set back, and then a dead holder's
        lease would end a day too late. And so is one of a holder known to be gone.
        """
        still = self._seen is not None and self._tick() - self._seen_at > self._ttl
        if not self._try(connection, still=still):
            self._look(connection)
            if self._gone is not None and self._gone(self.leader):
                # As it was seen just now, and nothing else: a third one may have been faster.
                self._try(connection, still=True)
        return self.epoch > 0

    def _try(self, connection: Connection, *, still: bool) -> bool:
        """Ask for the lease. still: also when the row is as it was last seen."""
        _, epoch, expires_at = self._seen if self._seen is not None and still else ("", -1, -1)
        values = {
            "of": self.role,
            "who": self.holder,
            "since": self.epoch,
            "span": self._ttl,
            "seen_epoch": epoch,
            "seen_end": expires_at,
        }
        found = connection.execute(self._seek, values).scalar()
        self.epoch = 0 if found is None else int(found)
        return self.epoch > 0

    def _look(self, connection: Connection) -> None:
        row = connection.execute(_SEEN, {"role": self.role}).one()
        seen = (row.holder, row.epoch, row.expires_at)
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._tick()

    @property
    def leader(self) -> str:
        """Who held the lease when this contender last failed to get it."""
        return self._seen[0] if self._seen else ""

    def fence(self, connection: Connection) -> int:
        """The database's time [ns]. Raises Deposed unless this contender holds the lease until the
        transaction ends."""
        values = {"of": self.role, "who": self.holder, "since": self.epoch}
        now = connection.execute(self._fence, values).scalar()
        if now is None:
            self.depose()
        return int(now)

    def depose(self) -> NoReturn:
        """Raises Deposed, now and at each fence until the lease is got back."""
        self.epoch = 0
        raise Deposed(
            f"{self.holder!r} does not lead the {self.role} any more: another process took over;"
            " nothing was written"
        )

    def release(self, connection: Connection) -> None:
        """Give the lease back, so that the next one need not wait for its end."""
        mine = (_ROW.role == self.role, _ROW.holder == self.holder, _ROW.epoch == self.epoch)
        connection.execute(LEASE.update().where(*mine).values(expires_at=0))
        self.epoch = 0


# Who leads a role, built once a dialect: building a statement costs more than asking it, and
# each transaction of a store without a lease asks.
_HELD: Final[dict[type[Dialect], Select[Any]]] = {}


def held(dialect: Dialect) -> Select[Any]:
    """The statement of `_HELD` for a dialect."""
    statement = _HELD.get(type(dialect))
    if statement is None:
        statement = select(_ROW.holder).where(
            _ROW.role == bindparam("role"), _ROW.expires_at > dialect.now()
        )
        _HELD[type(dialect)] = statement
    return statement


def check_unled(connection: Connection, dialect: Dialect, role: str, name: str) -> None:
    """Raises StoreError while some process leads: one that never asked may not write beside it."""
    holder = connection.execute(held(dialect), {"role": role}).scalar()
    if holder is not None:
        raise StoreError(f"{name} is in use: {holder!r} leads its {role}; nothing was written")
