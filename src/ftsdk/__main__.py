"""`python -m ftsdk` is `ftsdk`, for where its folder isn't on the PATH."""

from __future__ import annotations

from ftsdk.cli import main

if __name__ == "__main__":
    main()
