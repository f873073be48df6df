"""`python -m gateway` is `art18`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
