"""A stand-in for pyonmttok as far as OpenNMT-py's inference uses it: its vocabulary class."""


class Vocab:
    """A vocabulary: tokens and their indices; unknown tokens have that of <unk>, wherever it stands."""

    def __init__(self, tokens):
        self.ids_to_tokens = list(dict.fromkeys(tokens))
        self.tokens_to_ids = {token: index for index, token in enumerate(self.ids_to_tokens)}
        self.default_id = self.tokens_to_ids.get("<unk>", len(self.ids_to_tokens))

    def __len__(self):
        return len(self.ids_to_tokens)

    def __contains__(self, token):
        return token in self.tokens_to_ids

    def __getitem__(self, token):
        return self.lookup_token(token)

    def __call__(self, tokens):
        return [self.lookup_token(token) for token in tokens]

    def lookup_token(self, token):
        return self.tokens_to_ids.get(token, self.default_id)

    def lookup_index(self, index):
        return self.ids_to_tokens[index]


def build_vocab_from_tokens(tokens, **_):
    return Vocab(tokens)
