"""Languages of a multilingual model: a request names them, and the model's templates make them tokens.

``[languages]`` of a model has ``source_prefix``, ``source_suffix`` and ``target_prefix``, each with tokens
between spaces, in which ``{source}`` and ``{target}`` stand for the request's languages::

    [languages]
    source_prefix = "__{source}__"
    target_prefix = "__{target}__"
"""

import functools
import re
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from lambda_inference import BadRequest, Unavailable

TEMPLATES = ("source_prefix", "source_suffix", "target_prefix")
_CODE = "[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8})*"
"""A language's code among the tokens of a vocabulary, such as en, es_XX, fra_Latn."""


class Tokens(Struct, frozen=True):
    """The tokens around each source, and those that each hypothesis begins with."""

    before: list[str]
    after: list[str]
    forced: list[str]


class Languages:
    """A model's templates and vocabularies."""

    def __init__(self, table: Mapping[str, Any], source: Collection[str], target: Collection[str]) -> None:
        if unknown := table.keys() - set(TEMPLATES):
            raise Unavailable(f"[languages] takes {', '.join(TEMPLATES)}; got {', '.join(sorted(unknown))}")
        if wrong := [name for name, value in table.items() if not isinstance(value, str)]:
            raise Unavailable(f"[languages] {wrong[0]} takes a string, such as '__{{target}}__'")
        self._templates = {name: table.get(name, "") for name in TEMPLATES}
        self._vocabularies = {name: set(target if "target" in name else source) for name in TEMPLATES}
        for name, template in self._templates.items():
            for token in template.split():
                if "{" not in token and token not in self._vocabularies[name]:
                    raise Unavailable(
                        f"[languages] {name} has {token!r}, which the model's vocabulary lacks; write the "
                        "token that it was trained with"
                    )

    def is_tag(self, token: str) -> bool:
        """Return whether a token may come from a template, and so stands for no text."""
        return bool(self._tags.fullmatch(token))

    @functools.cached_property
    def _tags(self) -> re.Pattern[str]:
        tokens = {token for template in self._templates.values() for token in template.split()}
        parts = [re.sub(r"\\\{(?:source|target)\\\}", _CODE, re.escape(token)) for token in sorted(tokens)]
        return re.compile("|".join(parts))

    def resolve(self, source: str | UnsetType, target: str | UnsetType) -> Tokens:
        """Return the tokens of a request's languages.

        Raises:
            BadRequest: a language is missing, not used by the model, or not in its vocabulary.

        """
        for name, value in (("source", source), ("target", target)):
            used = any(f"{{{name}}}" in template for template in self._templates.values())
            if used is (value is UNSET):
                raise BadRequest(
                    f"this model {'needs' if used else 'does not take'} {name}_language",
                    field=f"{name}_language",
                )
        return Tokens(*(self._fill(name, str(source), str(target)) for name in TEMPLATES))

    def _fill(self, name: str, source: str, target: str) -> list[str]:
        template: str = self._templates[name]
        tokens = template.replace("{source}", source).replace("{target}", target).split()
        for token, pattern in zip(tokens, template.split(), strict=True):
            if token not in self._vocabularies[name]:
                side = "target" if "{target}" in pattern else "source"
                raise BadRequest(
                    f"{side}_language takes a language of this model, whose vocabulary lacks {token!r}",
                    field=f"{side}_language",
                )
        return tokens
