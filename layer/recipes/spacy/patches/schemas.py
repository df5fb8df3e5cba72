"""Stand-ins for the schemas by which spaCy checks the settings that people write for training."""

from typing import Any

from confection import Schema

from .attrs import IDS


class ConfigSchema(Schema):
    """Takes every configuration."""


ConfigSchemaInit = ConfigSchemaNlp = ConfigSchemaPretrain = ConfigSchemaTraining = ConfigSchema


class TokenPattern:
    """The attributes that tokens are matched by."""

    def model_dump(self) -> dict[str, None]:
        """Return their names, in lower case."""
        return dict.fromkeys(name.lower() for name in IDS)


def validate_token_pattern(_pattern: Any) -> list[str]:
    """Return the mistakes in a pattern for matching tokens: none is looked for."""
    return []


def validate_init_settings(*_arguments: Any, **_settings: Any) -> None:
    """Refuse to prepare a training."""
    raise NotImplementedError("this spaCy predicts, and does not train")
