"""`python -m pinxit` is the `pinxit` command."""

from pinxit.cli import main

if __name__ == "__main__":
    main()
