"""`python -m steadyset` is the `steadyset` command."""

from steadyset.cli import main

if __name__ == "__main__":
    main()
