#!/usr/bin/env python
"""Django's commands for this project; any Python will do, the project's own is taken where it has been set up."""

import importlib.util
import os
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parent / ".venv"


def main() -> None:
    """Run the command that the arguments name. Exits with one line when the embedded servers cannot run."""
    if importlib.util.find_spec("django") is None:
        _run_with_own_python()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "loyalty_saas.settings")
    from django.core.management import execute_from_command_line

    from loyalty_saas.embedded import ServersError

    try:
        execute_from_command_line(sys.argv)
    except ServersError as error:
        sys.exit(f"error: {error}")


def _run_with_own_python() -> None:
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV or not python.exists():
        sys.exit("error: Django is not installed: run `make demo`, or `pip install -r requirements/base.txt`.")
    os.execv(python, [str(python), *sys.argv])  # noqa: S606 - the project's own interpreter


if __name__ == "__main__":
    main()
