"""The words of the pages: every one that a page marks is there, and what it means is shown as text."""

import re

import pytest

from pages.components.guide.corner import WORDS
from pages.components.guide.steps import STEPS
from pages.components.lesson.chapters import CHAPTERS
from pages.components.shared import glossary
from pages.components.shared.addresses import ADDRESSES


def test_every_word_that_is_marked_is_explained() -> None:
    texts = [chapter.lead for chapter in CHAPTERS] + [step.text for step in STEPS]
    for text in texts:
        assert glossary.marked(text).count('class="term"') == len(re.findall(r"\[", text)), text
    for words in WORDS.values():
        assert glossary.listed(words).count("<dt>") == len(words)


def test_every_page_has_words_in_its_help() -> None:
    assert set(WORDS) >= {address or "start" for address in ADDRESSES}


def test_explanations_are_short_sentences_and_writings_are_told_apart() -> None:
    writings = [writing.lower() for term in glossary.terms().values() for writing in (term.word, *term.others)]
    assert len(writings) == len(set(writings))
    for term in glossary.terms().values():
        assert term.says.endswith("."), term.word
        assert 20 < len(term.says) < 200, term.word


def test_a_term_takes_the_keyboard_and_is_escaped(monkeypatch) -> None:
    html = glossary.term("Barriers")
    assert 'tabindex="0"' in html
    assert 'role="tooltip"' in html
    monkeypatch.setattr(glossary, "_by_writing", lambda: {"<b>": glossary.Term("<b>", "a <i> & b")})
    assert "<b>" not in glossary.term("<b>")
    assert "<i>" not in glossary.term("<b>")


def test_an_unknown_word_is_a_mistake_of_the_page() -> None:
    with pytest.raises(KeyError):
        glossary.marked("a [wrod] of a page")
