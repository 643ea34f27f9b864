"""A small tokenizer with a ChatML template, trained here in a blink, in the two shapes whose offsets differ."""

from __future__ import annotations

from typing import Any

import pytest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "<system> you sort short messages into a topic and answer with one word",
    "user assistant system tool",
    "please transfer money from my savings account to checking, then book a flight to rome",
    "Classify this email. Category: billing returns shipping travel weather",
)


def build_tokenizer(*, trims_offsets: bool = False, adds_bos: bool = False, template: str | None = CHATML) -> Any:
    pytest.importorskip("transformers", reason="the extra 'local' isn't installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            show_progress=False,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<s>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    steps: list[Any] = []
    if trims_offsets:
        steps.append(processors.ByteLevel(trim_offsets=True))
    if adds_bos:
        steps.append(processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]))
    if steps:
        raw.post_processor = processors.Sequence(steps)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>" if adds_bos else "<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="session", params=[False, True], ids=["whole offsets", "trimmed offsets"])
def either_tokenizer(request: pytest.FixtureRequest) -> Any:
    return build_tokenizer(trims_offsets=request.param)


@pytest.fixture(scope="session")
def sentencepiece_tokenizer() -> Any:
    """As Llama 2 has it: blanks become "▁", and only the beginning and the end of the text are special tokens."""
    pytest.importorskip("transformers", reason="the extra 'local' isn't installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    raw.decoder = decoders.Metaspace(prepend_scheme="first")
    letters = [chr(code) for code in range(32, 127)]
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=300, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=letters
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "<s>{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }}</s>"
        "{% else %}[{{ m['role'] }}] {{ m['content'] }} [/{{ m['role'] }}]{% endif %}{% endfor %}"
    )
    return tokenizer


@pytest.fixture(scope="session")
def base_tokenizer() -> Any:
    """As base models have it: no chat template, and a beginning-of-text token in front of everything."""
    return build_tokenizer(adds_bos=True, template=None)
