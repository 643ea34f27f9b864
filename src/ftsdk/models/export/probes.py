"""What an export is tried with: texts for its tokenizer, conversations for its template, prompts for its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CONVERSATIONS", "PROMPTS", "TEXTS"]

Messages = Sequence[Mapping[str, Any]]

TEXTS: tuple[str, ...] = (
    "a",
    " a",
    "  a",
    "a ",
    "Hello, world!",
    "hello world  two spaces",
    "\ttab\tand\ttab",
    "line\nline\n\nline\n\n\nline",
    "windows\r\nline\r\n",
    "trailing newline\n",
    "0",
    "42",
    "1234567890",
    "3.14159",
    "1,000,000.00",
    "2026-11-28T12:34:56Z",
    "v1.2.3-rc4",
    "a1b22c333d4444",
    "it's we're they'll I'd you've I'm",
    "IT'S WE'RE THEY'LL",
    "naïve café Ünïcödé",
    "e\u0301 as two code points",
    "Straße und Grüße",
    "Привет, мир",
    "γειά σου Κόσμε",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "你好，世界",
    "こんにちは世界",
    "안녕하세요 세계",
    "🙂",
    "👩‍👩‍👧‍👦 family",
    "🇩🇪🇫🇷",
    "✓ ≤ ∑ ∞ → ½",
    "def f(x):\n    return x ** 2  # square\n",
    "if (a != b && c <= d) { e += 1; }",
    '{"key": ["value", 1, null, true]}',
    "https://example.com/a?b=c&d=e#f",
    "user.name+tag@example.co.uk",
    "C:\\path\\to\\file.txt",
    "<html><body>text</body></html>",
    "$100.00 €50 £20",
    "snake_case camelCase kebab-case SCREAMING_SNAKE",
    "supercalifragilisticexpialidocious",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
    "................",
    "--- *** ===",
    "\u200bzero width\u00a0no-break",
)

CONVERSATIONS: tuple[Messages, ...] = (
    ({"role": "user", "content": "Where is my parcel?"},),
    ({"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Is it late?"}),
    (
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello! How can I help?"},
        {"role": "user", "content": "Cancel my order 1234."},
    ),
    (
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?\n\nWith a second paragraph."},
    ),
    ({"role": "user", "content": ""},),
    ({"role": "user", "content": '  spaces around, <tags>, {braces} and "quotes"  '},),
)

PROMPTS: tuple[str, ...] = (
    "What is the capital of France?",
    "Write one sentence about rain.",
    "Classify this email: my card was charged twice.",
    "List three fruits.",
    "Translate to German: good morning.",
    "What is 17 plus 25?",
    "Who wrote Hamlet?",
    "Give a synonym for happy.",
    "Summarise: the meeting was moved from Monday to Tuesday because the room was taken.",
    "Is water wet? Answer yes or no.",
    "Write a line of Python that prints hello.",
    "Name a colour.",
)
"""Asked where nobody names prompts; those of the run's own evals say more."""
