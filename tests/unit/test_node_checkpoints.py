"""Checkpoints: whole or not there, whatever tears; and what each kind of store needs."""

import json
import stat
import sys
from pathlib import Path

import fsspec
import pytest

from treasury.node.checkpoint import CheckpointStore, Saved, TornError
from treasury.node.remotes import FileRemote, FsspecRemote, Remote, RemoteError, ToolRemote, remote

# Plays `aws s3` on a folder: the same arguments, listings and words.
AWS = """#!{python}
import os, shutil, sys
_, s3, verb, *rest = sys.argv
assert s3 == "s3", sys.argv
words = [word for word in rest if word != "--only-show-errors"]
def place(word):
    return os.path.join(os.environ["BUCKETS"], word[5:]) if word.startswith("s3://") else word
if verb == "ls":
    folder = place(words[0])
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else sys.exit(1)
    for name in names:
        print(f"2026-01-02 03:04:05 {{os.path.getsize(os.path.join(folder, name)):10}} {{name}}")
elif verb == "cp":
    source, target = map(place, words)
    if not os.path.exists(source):
        sys.exit("fatal error: An error occurred (404) when calling HeadObject: Not Found")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
elif verb == "rm" and os.path.exists(place(words[0])):
    os.remove(place(words[0]))
"""


@pytest.fixture(params=["file", "fsspec", "tool"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    """Each way to keep checkpoints."""
    root = tmp_path / "remote"
    if request.param == "file":
        return remote(f"file://{root}", {})
    if request.param == "fsspec":
        return FsspecRemote(f"file://{root}", fsspec.filesystem("file"))
    tool = tmp_path / "bin" / "aws"
    tool.parent.mkdir()
    tool.write_text(AWS.format(python=sys.executable))
    tool.chmod(0o755)
    env = {"PATH": str(tool.parent), "BUCKETS": str(root), "AWS_PROFILE": "of-the-job"}
    found = remote("s3://bucket/jobs", env)
    assert isinstance(found, ToolRemote)
    return found


def store(place: Remote, tmp_path: Path, placement: int = 1) -> CheckpointStore:
    """The checkpoints of a job as one placement sees them."""
    return CheckpointStore(place, "team/job", 0, placement, tmp_path / f"scratch-{placement}")


def fill(folder: Path, **files: str) -> Path:
    """A directory with these files only, deep ones too."""
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file():
            path.unlink()
    for name, text in {**files, "deep/er": "same"}.items():
        path = folder / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def texts(folder: Path) -> dict[str, str]:
    """What is in a directory."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_directory_comes_back_as_it_was(place: Remote, tmp_path: Path) -> None:
    """Names, contents, modes and progress; what lay in the target before is gone."""
    source = fill(tmp_path / "a", step="1", sub_x="ü")
    (source / "step").chmod(0o700)
    (source / "link").symlink_to("/etc/passwd")
    store(place, tmp_path).save(source, Saved(250_000, 9))
    target = fill(tmp_path / "b", old="old")
    assert store(place, tmp_path, 2).restore(target) == Saved(250_000, 9)
    assert texts(target) == {"step": "1", "sub/x": "ü", "deep/er": "same"}
    assert stat.S_IMODE((target / "step").stat().st_mode) == 0o700


def test_nothing_saved_leaves_the_directory_alone(place: Remote, tmp_path: Path) -> None:
    """A job's first start finds no checkpoint, and that is no error."""
    target = fill(tmp_path / "b", mine="1")
    assert store(place, tmp_path).restore(target) is None
    assert texts(target)["mine"] == "1"


def test_only_the_newest_two_are_kept(place: Remote, tmp_path: Path) -> None:
    """Older manifests and what only they need are forgotten; unchanged files are kept once."""
    mine = store(place, tmp_path)
    for number in range(5):
        mine.save(fill(tmp_path / "a", step=str(number)), Saved(number, 0))
    assert len(place.names("team%2Fjob/rank-0/manifests")) == 2
    assert len(place.names("team%2Fjob/rank-0/objects")) == 3
    store(place, tmp_path, 2).restore(tmp_path / "b")
    assert texts(tmp_path / "b")["step"] == "4"


@pytest.mark.parametrize("harm", ["missing", "torn", "manifest", "lies"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(tmp_path: Path, harm: str) -> None:
    """An object that is missing or changed, or a manifest that is cut off or altered: the previous
    checkpoint is restored, whole."""
    root = tmp_path / "remote"
    mine = store(FileRemote(root), tmp_path)
    for number in (1, 2):
        mine.save(fill(tmp_path / "a", step=str(number)), Saved(number, 0))
    base = root / "team%2Fjob" / "rank-0"
    newest = max((base / "manifests").iterdir())
    body = json.loads(newest.read_text())
    (entry,) = [file for file in body["body"]["files"] if file["path"] == "step"]
    if harm == "missing":
        (base / "objects" / entry["object"]).unlink()
    elif harm == "torn":
        (base / "objects" / entry["object"]).write_text("")
    elif harm == "manifest":
        newest.write_text(newest.read_text()[:-20])
    else:
        entry["path"] = "../../outside"
        newest.write_text(json.dumps(body))
    assert store(FileRemote(root), tmp_path, 2).restore(tmp_path / "b") == Saved(1, 0)
    assert texts(tmp_path / "b")["step"] == "1"
    assert not (tmp_path / "outside").exists()


class Failing:
    """A store that fails at its n-th upload."""

    def __init__(self, inner: Remote, at: int) -> None:
        self.inner, self.left = inner, at

    def put(self, source: Path, name: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise RemoteError("the cable was pulled")
        self.inner.put(source, name)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@pytest.mark.parametrize("at", range(3))
def test_an_upload_that_breaks_off_saves_nothing(tmp_path: Path, at: int) -> None:
    """Wherever it breaks off, what was saved before is what is restored; the next one works."""
    inner = FileRemote(tmp_path / "remote")
    mine = store(inner, tmp_path)
    mine.save(fill(tmp_path / "a", step="1"), Saved(1, 0))
    broken = Failing(inner, at)
    with pytest.raises(RemoteError, match="cable"):
        store(broken, tmp_path, 2).save(fill(tmp_path / "a", step="2"), Saved(2, 0))
    assert store(inner, tmp_path, 3).restore(tmp_path / "b") == Saved(1, 0)
    broken.left = 9
    store(broken, tmp_path, 3).save(tmp_path / "a", Saved(2, 0))
    assert store(inner, tmp_path, 4).restore(tmp_path / "b") == Saved(2, 0)


def test_a_dead_machine_that_still_writes_is_not_believed(tmp_path: Path) -> None:
    """A placement that was given up saves after its successor did: the successor's counts, and
    nothing of it is pruned."""
    place = FileRemote(tmp_path / "remote")
    old, new = store(place, tmp_path, 1), store(place, tmp_path, 2)
    old.save(fill(tmp_path / "a", step="old"), Saved(1, 0))
    new.save(fill(tmp_path / "n", step="new"), Saved(5, 0))
    for number in range(4):
        old.save(fill(tmp_path / "a", step=f"late {number}"), Saved(9, 0))
    assert store(place, tmp_path, 3).restore(tmp_path / "b") == Saved(5, 0)
    assert texts(tmp_path / "b")["step"] == "new"


def test_a_file_that_never_holds_still_is_refused(tmp_path: Path) -> None:
    """A file that changes while it is read is not saved half old, half new."""
    source = fill(tmp_path / "a", step="1")

    class Restless(FileRemote):
        def put(self, path: Path, name: str) -> None:
            super().put(path, name)
            if path.name == "step":
                path.write_text(path.read_text() + "+")

    with pytest.raises(TornError, match="step keeps changing"):
        store(Restless(tmp_path / "remote"), tmp_path).save(source, Saved(1, 0))


def test_urls_that_cannot_be_reached_say_what_is_missing() -> None:
    """Unknown schemes and missing tools are named, with what would do."""
    for url in ("ftp://x/y", "file://relative", "nonsense", "s3:/one-slash"):
        with pytest.raises(RemoteError, match=r"expected file:///"):
            remote(url, {})
    with pytest.raises(RemoteError, match="neither gcsfs nor gcloud"):
        remote("gs://bucket/x", {"PATH": "/nowhere", "GOOGLE_X": "of the job"})
    with pytest.raises(RemoteError, match="AZURE_STORAGE_ACCOUNT"):
        ToolRemote("az://container/x", {})
