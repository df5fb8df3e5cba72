"""The case of words, as pyonmttok takes it from them and marks it in tokens of its own."""

from formats.words import CLOSE, OPEN, Word, get_case, get_kind, update_casing


def lower(text: str) -> tuple[str, str | None]:
    """Return a word in lowercase, and its casing."""
    casing, letters, lowered = None, 0, []
    for character in text:
        if get_kind(character) == "letter":
            case = get_case(character)
            casing = update_casing(casing, case, letters)
            letters += 1
            lowered.append(character.lower()[0] if case == "U" else character)
        else:
            lowered.append(character)
    return "".join(lowered), casing


def restore(text: str, casing: str | None) -> str:
    """Return a lowercase word in a casing."""
    if casing not in {"C", "U"}:
        return text
    count = 1 if casing == "C" else len(text)
    return "".join(map(_upper, text[:count])) + text[count:]


def _upper(character: str) -> str:
    """Return Unicode's simple uppercase of a character, which is one character."""
    return next((one for one in (character.upper(), character.title()) if len(one) == 1), character)


def mark_case(words: list[Word], *, soft: bool) -> list[tuple[str, str]]:
    """Return the marks of case before and after each word."""
    marks = [["", ""] for _ in words]
    inside = False
    for index, word in enumerate(words):
        if inside and not _goes_on(words, index, soft=soft):
            marks[index - 1][1] = f"{OPEN}mrk_end_case_region_U{CLOSE}"
            inside = False
        if inside:
            continue
        if word.casing == "U" or (soft and _is_capital(word) and _is_followed_by_capitals(words, index)):
            marks[index][0] = f"{OPEN}mrk_begin_case_region_U{CLOSE}"
            inside = True
        elif word.casing == "C":
            marks[index][0] = f"{OPEN}mrk_case_modifier_C{CLOSE}"
    if inside:
        marks[-1][1] = f"{OPEN}mrk_end_case_region_U{CLOSE}"
    return [(before, after) for before, after in marks]


def _goes_on(words: list[Word], index: int, *, soft: bool) -> bool:
    """Return whether a region of capitals holds one more word."""
    word = words[index]
    if not soft:
        return word.casing == "U" and word.trailing
    if word.casing == "U" or _is_capital(word):
        return True
    numbers = all(get_kind(character) == "number" for character in word.text)
    return (
        word.casing is None
        and not word.is_placeholder
        and (numbers or _is_followed_by_capitals(words, index))
    )


def _is_capital(word: Word) -> bool:
    return word.casing == "C" and len(word.text) == 1


def _is_followed_by_capitals(words: list[Word], index: int) -> bool:
    """Return whether the next word with a case is of capitals."""
    following = next((word for word in words[index + 1 :] if word.casing is not None), None)
    return following is not None and (following.casing == "U" or _is_capital(following))
