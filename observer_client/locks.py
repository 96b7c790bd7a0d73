"""A lock on an open file that dies with its process."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: int) -> bool:
        """Lock the open ``file``. False when another process has it."""
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(file: int) -> None:
        """Free the lock."""
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Lock the open ``file``. False when another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # A network disk without locks: two senders are harmless, none is not.
            return True
        return True

    def unlock(file: int) -> None:
        """Free the lock, also where a forked child holds a copy of the file."""
        try:
            fcntl.flock(file, fcntl.LOCK_UN)
        except OSError:
            return
