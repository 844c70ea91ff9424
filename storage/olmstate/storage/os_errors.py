"""The operating system's refusals as the library's errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager

from olmstate.messages import StoreFull, StoreUnavailable


@contextmanager
def os_errors(path: str | os.PathLike[str]) -> Generator[None]:
    """Turn the operating system's refusals in the block into `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull from error
        raise StoreUnavailable(reason=f"{os.fspath(path)}: {error.strerror}") from error
