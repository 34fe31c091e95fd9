"""The one door to files: the lake (read and written), on this machine or in an object store, and a project's folder (read).

A key is a relative path with '/' in it. Every change is one step that a kill cannot halve: a file is written under a
hidden name, flushed to the disk and renamed; a folder is prepared aside and swapped in. Nothing else in Lamplighter
opens, lists, moves or removes a file. What an object store does instead, objects.py says.
"""

from tasks.core.storage.folder import Folder
from tasks.core.storage.lake import ABANDONED_SECONDS, Lake
from tasks.core.storage.locks import BUSY
from tasks.core.storage.tables import TableReader, TableWriter

__all__ = ["ABANDONED_SECONDS", "BUSY", "Folder", "Lake", "TableReader", "TableWriter"]
