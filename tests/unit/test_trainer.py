"""The example trainer, and what its witness proves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from treasury_simulations.trainer import PROGRESS, Run, begin, main
from treasury_simulations.witness import hear, verify

STEPS = 40


def arguments(folder: Path, *more: str) -> list[str]:
    """A run of 40 steps, without waiting, with a checkpoint each 7."""
    places = [f"--{name}={folder / name}" for name in ("checkpoint", "witness", "result")]
    return [*places, "--seed=s", f"--steps={STEPS}", "--step-seconds=0", "--every=7", *more]


def killed_at(step: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until a step is begun, and leave everything as a kill at that instant would."""

    def dies(run: Run) -> Run:
        if run.step == step:
            raise KeyboardInterrupt
        return original(run)

    original = Run.next
    with monkeypatch.context() as patch:
        patch.setattr(Run, "next", dies)
        with pytest.raises(KeyboardInterrupt):
            main(arguments(folder))


def test_a_run_that_is_killed_twice_comes_to_the_same_result(tmp_path, monkeypatch):
    """Killed at 17 and 31 of 40 steps it does 4 + 4 steps again; its result is a plain run's."""
    killed_at(17, tmp_path, monkeypatch)
    killed_at(31, tmp_path, monkeypatch)
    assert main(arguments(tmp_path)) == 0
    said = verify(tmp_path / "witness", tmp_path / "result", "s", STEPS)
    assert said.faults == () and said.finished and said.starts == 3
    assert said.redone == (17 + 1 - 14) + (31 + 1 - 28)
    plain = tmp_path / "plain"
    assert main(arguments(plain)) == 0
    one, other = (json.loads((folder / "result").read_text()) for folder in (tmp_path, plain))
    assert one["chain"] == other["chain"] and one["starts"] == [0, 14, 28]


def test_a_request_to_stop_loses_nothing(tmp_path):
    """SIGTERM ends it by that signal with a checkpoint of all it did; the next start does none
    of it again."""
    command = [sys.executable, "-m", "treasury_simulations.trainer", *arguments(tmp_path)]
    slow = [*command, "--step-seconds=0.001", "--steps=1000000"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # Its first line: the handler is in place.
        assert process.stdout.readline()
        process.terminate()
        assert process.wait() == -15
    stopped = (tmp_path / "witness").read_text().splitlines()[-1].split()
    assert stopped[1] == "stopped"
    assert main([*arguments(tmp_path), f"--steps={int(stopped[2]) + 5}"]) == 0
    said = hear((tmp_path / "witness").read_text().splitlines())
    assert said.faults == () and said.redone == 0 and said.starts == 2


def test_progress_is_that_of_the_last_checkpoint(tmp_path, monkeypatch):
    """The file that TREASURY_PROGRESS names says 14 of 40 when killed at 17, and 40 at the end."""
    monkeypatch.setenv(PROGRESS, str(tmp_path / "progress"))
    killed_at(17, tmp_path, monkeypatch)
    assert (tmp_path / "progress").read_text() == "14 40"
    assert main(arguments(tmp_path)) == 0
    assert (tmp_path / "progress").read_text() == "40 40"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw | {"step": raw["step"] + 1},
        lambda raw: raw | {"chain": begin("s").chain},
        lambda raw: raw | {"total": 0},
        lambda raw: raw | {"seed": "other"},
    ],
)
def test_a_checkpoint_that_no_run_came_to_is_refused(tmp_path, capsys, spoil):
    """A step, chain, sum or seed that does not fit the others ends the program with code 3."""
    assert main(arguments(tmp_path)) == 0
    path = tmp_path / "checkpoint" / "state.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    assert main(arguments(tmp_path)) == 3
    assert capsys.readouterr().err


def lines(text: str) -> list[str]:
    """A witness file, written with commas."""
    return [line.strip() for line in text.split(",")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a from 0, a step 0, a step 2", "in the place of 1"),
        ("a from 0, a step 0, b from 1", "of which there is no save"),
        ("a from 0, a saves 0, b from 0, b step 0, a step 0", "ran beside"),
        ("a from 0, a step 0, a stopped 2", "having done 1"),
    ],
)
def test_the_witness_knows_what_must_not_be(text, fault):
    """A step left out, a state from nowhere, two at a time, a lie: each is seen."""
    assert fault in " ".join(hear(lines(text)).faults)


def test_a_job_that_never_began_has_a_fault(tmp_path):
    """Without a witness file there is no proof of anything."""
    said = verify(tmp_path / "witness", tmp_path / "result", "s", STEPS)
    assert said.faults and not said.finished
