"""The first two sentences of stories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.stories import first_two, sentence_pairs


@pytest.mark.parametrize(
    ("story", "pair"),
    [
        ("The cat sat. It slept! More.", ("The cat sat.", " It slept!")),
        ('There was a man. "Who is it?" he asked. End.', ("There was a man.", ' "Who is it?" he asked.')),
        ('He said "Stop." Then he left. Ok.', ('He said "Stop."', " Then he left.")),
        ("Mr. Smith met J. Doe. They talked.", ("Mr. Smith met J. Doe.", " They talked.")),
        ("It was 3.5 m long. Then it shrank.", ("It was 3.5 m long.", " Then it shrank.")),
        ("It ended. then small. Really.", ("It ended. then small.", " Really.")),
        ("  One.\nTwo.\n", ("One.", "\nTwo.")),
        ("吾輩は猫である。名前はまだ無い。どこで", ("吾輩は猫である。", "名前はまだ無い。")),
        ("Only one sentence.", None),
        ("No end", None),
        ("The second has. No end", None),
        ("", None),
    ],
)
def test_two_sentences(story, pair):
    assert first_two(story) == pair


@given(st.lists(st.text(alphabet="aB .!?\"'\n日。…", max_size=30), max_size=6))
def test_every_story_gives_its_own_beginning_or_is_skipped(stories):
    found = sentence_pairs(stories)
    assert len(found.pairs) + len(found.skipped) == len(stories)
    kept = [story for number, story in enumerate(stories) if number not in found.skipped]
    for story, (first, second) in zip(kept, found.pairs, strict=True):
        assert story.strip().startswith(first + second)
        assert first.strip()
        assert second.strip()
