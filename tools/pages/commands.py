"""The page of the commands: every option of every command, from the parsers that read them."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.table import escape
from lambda_setup.commands.parser import build_parser as build_setup_parser
from layer.builder.cli import build_parser as build_layer_parser

DOCUMENT = "docs/reference/commands.md"
SETUP, LAYER = "python -m lambda_setup", "python -m layer"
FORMER = ("mend",)
"""Commands under a former name, which work and warn."""
_TEXT = (Path(__file__).parent / "texts" / "commands.md").read_text(encoding="utf-8").rstrip("\n")


@dataclass(frozen=True)
class Command:
    """A command: its program, its name behind that of its group, its line in a list, its parser."""

    program: str
    name: str
    summary: str
    parser: argparse.ArgumentParser

    @property
    def examples(self) -> list[str]:
        """Calls of it, a line each."""
        example = (self.parser.epilog or "").removeprefix("example: ")
        return example.split("; ") if example else []


def list_commands() -> list[Command]:
    """Return the commands of both programs, in the order of their help."""
    setup = [one for one in _walk(SETUP, "", build_setup_parser()) if one.name != "layer"]
    return [*setup, *(one for one in _walk(LAYER, "", build_layer_parser()) if one.name not in FORMER)]


def list_arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments that a command's help shows, without those that every command has."""
    hidden = ("help", "debug")
    return [one for one in parser._actions if one.help != argparse.SUPPRESS and one.dest not in hidden]  # noqa: SLF001 - argparse has no public list


def describe_help(parser: argparse.ArgumentParser, argument: argparse.Action) -> str:
    """Return an argument's help with its default in place."""
    return parser._get_formatter()._expand_help(argument)  # noqa: SLF001 - what --help prints


def make_page() -> str:
    """Return the page's text: a list of the commands, and a table of each one's options."""
    commands = list_commands()
    lines = [_TEXT]
    for program in (SETUP, LAYER):
        lines += ["", f"| `{program} …` | does |", "|---|---|"]
        lines += [
            f"| [`{one.name}`](#{_name_anchor(one)}) | {_mark(one.summary or _shorten(one))} |"
            for one in commands
            if one.program == program
        ]
    for one in commands:
        lines += ["", f"## {_name_heading(one)}", "", _mark(one.parser.description or f"{one.summary}.")]
        if one.examples:
            lines += ["", "```", *one.examples, "```"]
        if arguments := list_arguments(one.parser):
            lines += ["", "| argument | meaning |", "|---|---|"]
            lines += [f"| {_name(each)} | {_describe(one.parser, each)} |" for each in arguments]
        lines += [f"\n{choice}" for choice in _describe_choices(one.parser)]
    return "\n".join(lines) + "\n"


def _walk(program: str, prefix: str, parser: argparse.ArgumentParser) -> Iterator[Command]:
    """Yield the commands below a parser, groups by what they hold."""
    for group in parser._actions:  # noqa: SLF001
        if not isinstance(group, argparse._SubParsersAction):  # noqa: SLF001
            continue
        summaries = {one.dest: one.help or "" for one in group._choices_actions}  # noqa: SLF001
        for name, below in group.choices.items():
            nested = list(_walk(program, f"{prefix}{name} ", below))
            yield from nested or [Command(program, f"{prefix}{name}", summaries.get(name, ""), below)]


def _name_heading(command: Command) -> str:
    return f"layer {command.name}" if command.program == LAYER else command.name


def _name_anchor(command: Command) -> str:
    return _name_heading(command).replace(" ", "-")


def _shorten(command: Command) -> str:
    """Return a description's first words, for a command of maintainers, which the help does not list."""
    first = (command.parser.description or "").partition(", ")[0].partition(". ")[0].rstrip(".")
    return f"{first[0].lower()}{first[1:]}"


def _mark(words: str) -> str:
    """Return a help text as Markdown: options as code, and signs that would be markup as they are."""
    parts = re.split(r"(`[^`]*`)", words)
    parts[::2] = [
        re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", re.sub(r"(?<!\w)(?=_)|(?=<)", r"\\", part))
        for part in parts[::2]
    ]
    return "".join(parts)


def _name(argument: argparse.Action) -> str:
    metavar: object = argument.metavar or ("|".join(map(str, argument.choices)) if argument.choices else "")
    value = " ".join(metavar) if isinstance(metavar, tuple) else str(metavar)
    if argument.nargs == 0:
        value = ""
    if not argument.option_strings:
        return f"`{escape(value or argument.dest)}`"
    return ", ".join(f"`{escape(f'{option} {value}'.strip())}`" for option in argument.option_strings)


def _describe(parser: argparse.ArgumentParser, argument: argparse.Action) -> str:
    words = escape(_mark(describe_help(parser, argument)))
    return f"{words}; required" if argument.option_strings and argument.required else words


def _describe_choices(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield which arguments exclude each other."""
    for group in parser._mutually_exclusive_groups:  # noqa: SLF001
        shown = [one for one in group._group_actions if one.help != argparse.SUPPRESS]  # noqa: SLF001
        if len(shown) > 1:
            names = ", ".join(
                f"`{one.option_strings[0] if one.option_strings else one.metavar}`" for one in shown
            )
            yield f"Give {'one' if group.required else 'at most one'} of {names}."
