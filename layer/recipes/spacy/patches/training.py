"""What components import from here, to be trained; here they are not."""

from .example import Example, validate_examples, validate_get_examples
from .iob_utils import remove_bilu_prefix, split_bilu_label

__all__ = ["Example", "remove_bilu_prefix", "split_bilu_label", "validate_examples", "validate_get_examples"]
