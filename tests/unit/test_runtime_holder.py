"""A dead leader of this very host is succeeded at once; of any other host, or a living one, not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.books import turns
from treasury.domain.errors import Deposed
from treasury.domain.time import HOUR
from treasury.runtime.holder import gone, holder_name
from treasury.store import SqlStore

_NAME_OF_A_CHILD = "from treasury.runtime.holder import holder_name; print(holder_name('ab12'))"

if not Path("/proc/self/ns/pid").exists():
    pytest.skip("this system does not tell starts of a host apart", allow_module_level=True)


def _dead() -> str:
    """The name of a process of this host that has ended."""
    command = [sys.executable, "-c", _NAME_OF_A_CHILD]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_only_a_dead_process_of_this_start_of_this_host_is_gone() -> None:
    """One that runs is not; a dead one is; neither is one of another host, of another start of
    this host, of another numbering, or of an older kind of name."""
    dead = _dead()
    assert not gone(holder_name("ab12"))
    assert gone(dead)
    host, since = dead.split()[0], dead.split()[-1]
    boot, numbering = since.split("/")
    assert not gone(dead.replace(host, f"{host}x", 1))
    assert not gone(dead.replace(boot, "0" * len(boot)))
    assert not gone(dead.replace(numbering, "pid:[1]"))
    assert not gone(dead.split(" since ")[0])
    assert not gone("")
    # A process of somebody else's runs, too.
    assert not gone(dead.replace(f"process {dead.split()[2]} ", "process 1 "))


def test_the_next_start_leads_at_once_where_the_leader_is_dead(tmp_path: Path) -> None:
    """The lease has an hour to go; the successor writes, and the dead one's epoch is over."""
    database = tmp_path / "treasury.db"
    first, second = SqlStore.open(database), SqlStore.open(database)
    assert first.lead(_dead(), ttl=HOUR)
    one, two = turns(2)
    first.append(one)
    assert second.lead(holder_name("cd34"), ttl=HOUR, gone=gone)
    second.append(two)
    assert second.epoch == first.epoch + 1
    with pytest.raises(Deposed):
        first.append(two)
    first.close()
    second.close()


def test_a_living_leader_keeps_its_lease(tmp_path: Path) -> None:
    """The same with a process that runs: this one. Nobody takes over."""
    database = tmp_path / "treasury.db"
    first, second = SqlStore.open(database), SqlStore.open(database)
    assert first.lead(holder_name("ab12"), ttl=HOUR, gone=gone)
    assert not second.lead(holder_name("cd34"), ttl=HOUR, gone=gone)
    assert second.leader == holder_name("ab12")
    assert f"process {os.getpid()} " in second.leader
    first.close()
    second.close()


def test_of_two_that_find_a_dead_leader_one_leads(tmp_path: Path) -> None:
    """The second to ask finds a living one."""
    database = tmp_path / "treasury.db"
    dead, one, two = (SqlStore.open(database) for _ in range(3))
    assert dead.lead(_dead(), ttl=HOUR)
    assert one.lead(holder_name("ab12"), ttl=HOUR, gone=gone)
    assert not two.lead(holder_name("cd34"), ttl=HOUR, gone=gone)
    for store in (dead, one, two):
        store.close()
