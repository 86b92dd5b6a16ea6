"""Lets `python -m mis_cli` stand for the `mis` command."""

from mis_cli.main import app

if __name__ == "__main__":
    app(prog_name="mis")
