"""`python -m cdengine COMMAND …`."""

from cdengine.cli.main import entry

if __name__ == "__main__":
    entry()
