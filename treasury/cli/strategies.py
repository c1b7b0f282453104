"""`treasury strategies`: what can be asked to decide, and with which parameters."""

from typing import Any

import click

from treasury.cli.output import emit, output_option


@click.command()
@output_option
@click.pass_context
def cli(ctx: click.Context, output: str) -> None:
    """List strategies: name, where from, parameters with defaults, and what they do.

    Exits 1 when a registered strategy cannot be loaded.
    """
    from treasury.domain.errors import PluginError
    from treasury.registry import load, origin, plugins

    rows: list[list[object]] = []
    broken = False
    for name, entry in plugins("treasury.strategies").items():
        try:
            plugin = load("treasury.strategies", name)
            rows.append([name, origin(entry), _parameters(plugin), _summary(plugin)])
        except PluginError as error:
            broken = True
            rows.append([name, origin(entry), None, str(error)])
    emit(["strategy", "from", "parameters", "what it does"], rows, output)
    if broken:
        ctx.exit(1)


def _parameters(plugin: Any) -> str:
    """`name=default` of each parameter; whole numbers without a default stand alone."""
    import msgspec

    from treasury.registry import settings_of

    shown = []
    for field in msgspec.structs.fields(settings_of(plugin)):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown.append(field.name if field.required else f"{field.name}={default}")
    return ", ".join(shown)


def _summary(plugin: Any) -> str:
    """The first sentence of a class's docstring."""
    text = " ".join((plugin.__doc__ or "").split())
    return text.partition(". ")[0].rstrip(".")
