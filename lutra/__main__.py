"""``python -m lutra``."""

from .cli import main

main()
