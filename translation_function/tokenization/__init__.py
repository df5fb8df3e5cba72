"""Kinds of tokenizers, one module each; ``tokenizer`` chooses among them, and nothing else imports them."""
