"""How recordings and snapshots lie on disk: names, index, hashes."""

from understudy_footage.catalog import Catalog, Held, Shelf
from understudy_footage.fragments import Whole, read_at, whole_part
from understudy_footage.index import (
    Part,
    Recording,
    Snapshot,
    copies_of,
    parts_of,
    recordings_of,
    snapshots_of,
)
from understudy_footage.layout import (
    FootageRoot,
    LostWrites,
    UnsafePath,
    finish_file,
    fsync_folder,
    make_folders,
)
from understudy_footage.manifest import (
    UNREADABLE,
    Manifest,
    ManifestEntry,
    digest_of,
    files_of,
    hash_file,
    manifest_of,
    manifest_of_entries,
)
from understudy_footage.names import (
    FootagePath,
    InvalidFootageName,
    PartName,
    RecordingName,
    SnapshotName,
    day_of,
)
from understudy_footage.recovery import Recovered, recover

__all__ = [
    "UNREADABLE",
    "Catalog",
    "FootagePath",
    "FootageRoot",
    "Held",
    "InvalidFootageName",
    "LostWrites",
    "Manifest",
    "ManifestEntry",
    "Part",
    "PartName",
    "Recording",
    "RecordingName",
    "Recovered",
    "Shelf",
    "Snapshot",
    "SnapshotName",
    "UnsafePath",
    "Whole",
    "copies_of",
    "day_of",
    "digest_of",
    "files_of",
    "finish_file",
    "fsync_folder",
    "hash_file",
    "make_folders",
    "manifest_of",
    "manifest_of_entries",
    "parts_of",
    "read_at",
    "recordings_of",
    "recover",
    "snapshots_of",
    "whole_part",
]
