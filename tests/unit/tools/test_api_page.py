"""The page of the Python API has every public name, as the code declares and describes it."""

import importlib
import inspect
import re
import textwrap

import pytest
from support.project import ROOT

from tools.pages import api

PAGE = api.make_page()
MODULES = [".".join(filter(None, ["lambda_inference", module])) for module in api.MODULES]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_heading(module: str) -> None:
    """Each function and class of ``__all__``, and no other."""
    loaded = importlib.import_module(module)
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [text] = [one for one in section if one.startswith(f"{module}\n")]
    stated = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    named = [
        name
        for name in loaded.__all__
        if inspect.isclass(vars(loaded)[name]) or inspect.isfunction(vars(loaded)[name])
    ]
    assert stated == named


def test_every_public_module_is_there() -> None:
    """One without an underscore and with an ``__all__``."""
    public = {
        path.stem for path in api.PACKAGE.glob("*.py")
        if not path.stem.startswith("_") and "\n__all__" in path.read_text(encoding="utf-8")
    }  # fmt: skip
    assert public == set(api.MODULES) - {""}


def test_a_docstring_becomes_markdown() -> None:
    """Code, a block of code that is followed by words, and a section's entries with their second lines."""
    drawn = api.draw_docstring(
        textwrap.dedent("""\
            Return ``one``.

            As here::

                one()

            Or not.

            Args:
                first: which has
                    two lines.
                second: another.

            Raises:
                ValueError: it is not.
            """)
    )
    assert drawn == (
        "Return `one`.\n\nAs here:\n\n```python\none()\n```\n\nOr not.\n\nArgs:\n\n- `first`: which has\n"
        "  two lines.\n- `second`: another.\n\nRaises:\n\n- `ValueError`: it is not."
    )


def test_signatures_are_the_codes() -> None:
    """With their types; a class has its fields, a property no brackets."""
    assert "def load_tokenizer(model: Model, longest: int, name: str='tokenizer.json') -> 'Tokenizer'" in PAGE
    assert "    result: Literal['s3', 'inline', 'auto'] = 's3'\n" in PAGE
    assert "- `only(suffix: str)`: Return the only file whose name ends with a suffix." in PAGE
    assert "\n- `size`: Bytes of all files together.\n" in PAGE
    assert "Annotated[str, Meta(pattern" not in PAGE


def test_the_page_is_in_the_project() -> None:
    """Where the index links it."""
    assert f"]({api.DOCUMENT.removeprefix('docs/')})" in (ROOT / "docs" / "index.md").read_text(
        encoding="utf-8"
    )
