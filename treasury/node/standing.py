"""How a machine's work stands, in the words of a report; and the order it stood under before."""

from __future__ import annotations

from typing import Any

from treasury.bus.fields import MessageError, build
from treasury.bus.messages import Order
from treasury.node.work import Running, View


def standing(
    order: Order | None, latch: str, work: Running | None, view: View | None, dropped: int
) -> dict[str, Any]:
    """A report's fields about the work. latch: why the machine starts nothing any more. view: how
    the work stood, where the present is not meant. dropped: log lines left out."""
    if view is None and work is not None:
        view = work.view()
    if view is not None:
        return {
            "placement": view.placement,
            "phase": view.phase,
            "rank": view.rank,
            "base_ppm": view.base_ppm,
            "elapsed_ns": view.elapsed_ns,
            "progress_ppm": view.progress_ppm,
            "saved_ns": view.saved_ns,
            "reason": latch or view.reason,
            "error": view.error,
            "tokens": work.tokens() if work is not None else None,
            "dropped": dropped,
        }
    wanted = order.work if order is not None else None
    if order is None or wanted is None:
        return {"reason": latch}
    return {
        "placement": wanted.placement,
        "rank": wanted.rank,
        # What never ran here stands where it was to resume.
        "phase": "stopped" if order.stop or latch else "waiting",
        "base_ppm": wanted.work_done_ppm,
        "reason": latch,
    }


def kept_order(value: dict[str, Any]) -> Order | None:
    """An order that an earlier agent wrote down; None for one that an older version did."""
    try:
        return build(Order, value)
    except MessageError:
        return None
