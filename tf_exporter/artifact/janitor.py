"""A separate process that removes unfinished folders after a conversion, even a killed one.

It waits until the pipe from its parent closes. After a publication there is nothing to remove.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Waits for the end of the parent process, then removes unfinished folders.

    Args:
        arguments: the output folder, the folder that the artifact is made in, the folder that it
            replaces, and the parent folders that were created for it, the innermost first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output, partial, replaced, *parents = arguments
    sys.stdin.buffer.read()
    if os.path.lexists(replaced) and not os.path.lexists(output):
        os.rename(replaced, output)
    for folder in (partial, replaced):
        shutil.rmtree(folder, ignore_errors=True)
    for parent in parents:
        try:
            os.rmdir(parent)
        except OSError:
            break


if __name__ == "__main__":
    main(sys.argv[1:])
