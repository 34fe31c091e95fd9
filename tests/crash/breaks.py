"""Ways to get it wrong, each of which somebody might take for the right one: the checker must find them."""

from tasks.core.models import registry
from tasks.core.rows import rejects
from tasks.core.runs import partitions, publication
from tasks.core.runs.recalling import withdrawal
from tasks.core.storage import Lake, system


def _conclude_early() -> None:
    """The record says 'concluded' before what was replaced is out of sight."""
    finish = publication._finish

    def early(lake, workspace, manifest):
        publication.write_manifest(lake, workspace, manifest.but(state="concluded"))
        return finish(lake, workspace, manifest)

    publication._finish = early


def _no_undo() -> None:
    """What a kill left is taken for published."""
    publication._undo = publication._finish


def _stale_rejects() -> None:
    """A batch that is scored again leaves out what an attempt that was killed had rejected."""
    rejects.read_taken_out_before_scoring = rejects.read_taken_out


def _forget_intent() -> None:
    """A recall withdraws a window without having said so: whoever comes next cannot know how far it came."""
    plain = withdrawal.write_manifest

    def write(lake, workspace, manifest):
        if manifest.state != "withdrawing":
            plain(lake, workspace, manifest)

    withdrawal.write_manifest = write


def _two_commits() -> None:
    """What a Delta table shows goes with one commit, and what it is to show comes with the next."""
    plain = partitions._commit

    def commit(lake, table, label, name, at):
        plain(lake, table, label, None, at)
        if name:
            plain(lake, table, label, name, at)

    partitions._commit = commit


def _event_in_two_steps() -> None:
    """The number of an event is taken first, and then the event is written."""
    plain = Lake.create

    def create(self, key, data):
        if "/events/" not in key:
            return plain(self, key, data)
        if not plain(self, key, b""):
            return False
        self.write_bytes(key, data)
        return True

    Lake.create = create


def _version_before_its_manifest() -> None:
    """A version is moved to its number, and its manifest written there."""
    written = []

    class Later(Lake):
        def write_bytes(self, key, data):
            if key.endswith(f"/{registry.MANIFEST}") and "/.tmp-" in key:
                written.append(data)
            else:
                super().write_bytes(key, data)

        def try_rename(self, source, target):
            is_done = super().try_rename(source, target)
            if is_done:
                super().write_bytes(f"{target}/{registry.MANIFEST}", written.pop())
            return is_done

    plain = registry.Registry.__init__
    registry.Registry.__init__ = lambda self, lake: plain(self, Later(lake.root))


def _unflushed_file() -> None:
    """A file is put in place before its bytes have reached the disk."""

    def write(path, data):
        with path.open("xb") as file:
            file.write(data)

    system.write_flushed = write


def _unflushed_folder() -> None:
    """A file is in place, and the folder that says so is not on the disk."""
    system.flush_folder = lambda _path: None


BREAKS = {
    "conclude-early": _conclude_early,
    "no-undo": _no_undo,
    "stale-rejects": _stale_rejects,
    "forget-intent": _forget_intent,
    "two-commits": _two_commits,
    "event-in-two-steps": _event_in_two_steps,
    "version-before-its-manifest": _version_before_its_manifest,
    "unflushed-file": _unflushed_file,
    "unflushed-folder": _unflushed_folder,
}
