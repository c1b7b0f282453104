"""The command line: one file per verb group, parsing and printing only.

Lives here: options, tables, exit codes. May not live here: decisions about money or machines.
Importing this package must stay cheap: a verb's module, and what it needs, is imported when the
verb is called.
"""


def main() -> None:
    """The `treasury` command; leaves by SystemExit with the documented codes."""
    from treasury.cli.main import run

    run()


__all__ = ["main"]
