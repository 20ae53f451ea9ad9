"""The command: ``fastbp`` or ``python -m fastbp``."""

from __future__ import annotations

import sys

from fastbp.system.interrupts import leave_on_interrupt


def main() -> None:
    """Run the command, or say which extra it needs."""
    leave_on_interrupt()
    try:
        from fastbp.command import app
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("fastbp"):
            raise
        sys.exit(f"Error: the command needs {error.name}: pip install 'fastbp[cli]'")
    app.main()


if __name__ == "__main__":
    main()
