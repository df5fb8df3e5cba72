"""``model``: the models in a bucket, and how good they are; a module for the commands of each purpose."""

from lambda_setup.commands.model import channels, download, publish, score, versions
from lambda_setup.commands.options import Commands, add_group


def configure_parser(commands: Commands) -> None:
    """Declare the commands of models."""
    group = add_group(commands, "model", "manage the models in a bucket, and measure them")
    for module in (publish, download, versions, channels, score):
        module.configure_parser(group)
