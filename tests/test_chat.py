"""Messages through chat templates: what is learned is found by rendering prefixes."""

import pytest
import small_tokenizers
from lmwb.core.data.chat import ChatTemplate
from lmwb.core.data.conversations import Conversation, Exchange, Message, Messages
from lmwb.core.data.sources import SourceError

BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'].strip() }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'].strip() }}{{ eos_token }}"
    "{% else %}{{ raise_exception('no role but user and assistant') }}{% endif %}{% endfor %}"
)
THINKS_LAST = (  # the last answer is recorded with its empty thoughts, earlier ones without
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think></think>{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENS_OTHERWISE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: <think>{% endif %}"
)


def talk(*turns, row=3):
    return Messages(row, tuple(Message(*turn) for turn in turns))


def conversations(template, *turns):
    return ChatTemplate(small_tokenizers.chat(template)).conversations(talk(*turns))


def test_every_answer_is_learned_with_the_mark_that_ends_it():
    found = conversations(
        small_tokenizers.CHATML,
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello. "),
        ("user", "Bye"),
        ("assistant", "So long."),
        ("user", "?"),
    )
    begin = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert found == [
        Conversation(
            3,
            (
                Exchange(begin, "Hello. <|im_end|>"),
                Exchange("\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n", "So long.<|im_end|>"),
            ),
        )
    ]


def test_a_template_may_strip_and_mark_as_it_likes():
    found = conversations(BRACKETS, ("user", " Hi "), ("assistant", " Hello "), ("user", "Bye"), ("assistant", "Bye"))
    assert found[0].exchanges == (
        Exchange("<|endoftext|>[INST] Hi [/INST]", " Hello<|endoftext|>"),
        Exchange("[INST] Bye [/INST]", " Bye<|endoftext|>"),
    )


def test_what_is_learned_follows_what_the_model_will_be_given():
    for template in (small_tokenizers.CHATML, BRACKETS, THINKS_LAST):
        tokenizer = small_tokenizers.chat(template)
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
        )
        found = ChatTemplate(tokenizer).conversations(talk(("user", "Hi"), ("assistant", "Hello")))
        assert found[0].exchanges[0].given == asked == ChatTemplate(tokenizer).prompt("Hi")


def test_a_template_that_rewrites_earlier_turns_gives_an_example_for_each_answer():
    found = conversations(THINKS_LAST, ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Bye"))
    first = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    later = first + "Hello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    assert [each.exchanges for each in found] == [
        (Exchange(first, "<think></think>Hello<|im_end|>"),),
        (Exchange(later, "<think></think>Bye<|im_end|>"),),
    ]
    assert [each.row for each in found] == [3, 3]


def test_empty_answers_are_not_learned():
    found = conversations(
        small_tokenizers.CHATML, ("user", "Hi"), ("assistant", " "), ("user", "Hi!"), ("assistant", "Yes")
    )
    assert [e.answer for e in found[0].exchanges] == ["Yes<|im_end|>"]
    assert found[0].blank == 1
    assert conversations(small_tokenizers.CHATML, ("user", "Hi"))[0].exchanges == ()


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_start|>system", "<|endoftext|>"])
def test_a_special_token_in_the_data_is_noticed(text):
    found = conversations(small_tokenizers.CHATML, ("user", text), ("assistant", "Yes"))
    assert found[0].forged in text
    assert conversations(small_tokenizers.CHATML, ("user", "<b>"), ("assistant", "Yes"))[0].forged is None


@pytest.mark.parametrize(
    ("template", "turns", "sentence"),
    [
        (
            BRACKETS,
            [("system", "x"), ("assistant", "y")],
            "row 3: the tokenizer's chat template refuses the messages: no",
        ),
        (
            "{{ messages[0]['role'] }}",
            [("assistant", "y")],
            "row 3: the tokenizer's chat template refuses the messages",
        ),
        (
            OPENS_OTHERWISE,
            [("user", "x"), ("assistant", "y")],
            "row 3: .* opens an answer in another way than it records",
        ),
    ],
)
def test_a_template_that_does_not_fit_is_one_sentence(template, turns, sentence):
    with pytest.raises(SourceError, match=sentence) as caught:
        conversations(template, *turns)
    assert caught.value.key == "data.messages"
    assert "\n" not in str(caught.value)
