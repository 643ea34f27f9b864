from __future__ import annotations

import io
from typing import Any

import pytest

from ftsdk.data import Dataset, preview, render_chat
from ftsdk.errors import DatasetError

ROWS = [
    {"prompt": "Wo ist mein Päckchen? 📦", "completion": "shipping"},
    {"prompt": "Refund <b>now</b>", "completion": "billing"},
]


def test_print_marks_what_is_trained(tokenizer: Any) -> None:
    text = str(preview(Dataset.from_rows(ROWS, name="emails"), tokenizer, n=1))
    assert "emails, train_on='assistant'" in text
    assert "<|im_start|>user\nWo ist mein Päckchen? 📦<|im_end|>\n<|im_start|>assistant\n⟦shipping<|im_end|>⟧\n" in text
    assert "Refund" not in text


def test_a_preview_has_the_text_ids_and_mask_of_training(either_tokenizer: Any) -> None:
    dataset = Dataset.from_rows(ROWS)
    shown = preview(dataset, either_tokenizer, train_on="completion").to_dict()
    for index, row in enumerate(shown["rows"]):
        rendered = render_chat(dataset[index]["messages"], either_tokenizer, train_on="completion")
        assert "".join(row["tokens"]) == rendered.text
        assert (row["input_ids"], row["trained"]) == (list(rendered.input_ids), list(rendered.trained))
    assert [row["line"] for row in shown["rows"]] == [1, 2]


def test_what_is_cut_off_is_said_and_not_shown(tokenizer: Any) -> None:
    shown = preview(Dataset.from_rows(ROWS), tokenizer, n=1, max_length=10)
    assert len(shown.rows[0].tokens) == 10
    assert "more cut off" in str(shown)
    assert "⟦" not in str(shown).partition("\n")[2]


def test_preference_rows_show_both_answers(tokenizer: Any) -> None:
    text = str(preview(Dataset.from_rows([{"prompt": "hi", "chosen": "good", "rejected": "bad"}]), tokenizer))
    assert "row 1 chosen" in text
    assert "⟦good<|im_end|>⟧" in text
    assert "⟦bad<|im_end|>⟧" in text


def test_rich_colours_trained_tokens_and_lists_ids(tokenizer: Any) -> None:
    from rich.console import Console

    shown = preview(Dataset.from_rows(ROWS), tokenizer, n=1)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=200)
    console.print(shown)
    out = written.getvalue()
    assert "\x1b[32mshipping" in out
    assert f"\x1b[32m{tokenizer.eos_token_id} " in out


def test_html_is_escaped_and_marks_what_is_trained(tokenizer: Any) -> None:
    page = preview(Dataset.from_rows(ROWS), tokenizer)._repr_html_()
    assert "<b>now" not in page
    assert '<span class="t" title="2">&lt;|im_end|&gt;</span>' in page


def test_control_characters_of_the_data_never_reach_the_terminal(tokenizer: Any) -> None:
    shown = preview(Dataset.from_rows([{"prompt": "a\x1b[2J", "completion": "b"}]), tokenizer)
    assert "\x1b" not in str(shown)
    assert "a␛[2J" in str(shown)


def test_a_table_has_nothing_to_preview_yet(tokenizer: Any) -> None:
    with pytest.raises(DatasetError, match="still a table"):
        preview(Dataset.from_rows([{"a": 1}]), tokenizer)
