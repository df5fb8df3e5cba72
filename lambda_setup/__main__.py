"""The operator's commands: ``python -m lambda_setup --help``, or ``lambda-inference --help``."""

import sys
import traceback
from pathlib import Path

try:
    from lambda_setup.commands.parser import build_parser
    from lambda_setup.deployment.local.process import unwind_on_termination
    from lambda_setup.errors import CommandError
    from layer.builder.errors import LayerError
except ModuleNotFoundError as error:
    if (error.name or "").startswith(("lambda_setup", "layer")):
        raise
    print(
        f"error: {sys.executable} has no {error.name}; `make demo` makes the environment that has, and "
        "`source .venv/bin/activate` takes it",
        file=sys.stderr,
    )
    sys.exit(2)

SCRIPT = "lambda-inference"


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["layer"]:
        from layer.builder.cli import main as layer

        return layer(arguments[1:])
    parser = build_parser(SCRIPT) if Path(sys.argv[0]).name == SCRIPT else build_parser()
    options = parser.parse_args(arguments)
    try:
        with unwind_on_termination():
            code: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except (CommandError, LayerError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
