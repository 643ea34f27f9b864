"""An adapter that was collected from the service is like any other.

It loads on its base, and changes what the model says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")
pytest.importorskip("torch", reason="the extra 'local' isn't installed")

from ftsdk import Dataset, FineTuneJob, Model, ModelError, Together
from ftsdk.models import load_model, load_tokenizer
from ftsdk.testing.together import TogetherService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherService]:
    with TogetherService() as service:
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        yield service


def test_a_collected_adapter_loads_on_its_base_and_changes_it(service: TogetherService, tiny_model: Path) -> None:
    import torch

    data = Dataset.from_rows([{"q": f"question {i}", "a": "yes"} for i in range(16)]).as_chat(
        prompt="{q}", completion="{a}"
    )
    backend = Together(base_url=service.base_url, max_retries=0, poll_s=0)
    run = FineTuneJob(model="Qwen/Qwen3.5-9B", train=data, backend=backend).submit().wait(progress=False, poll_s=0)
    tuned = run.model()
    assert tuned.id == "Qwen/Qwen3.5-9B"
    assert tuned.adapter is not None
    with pytest.raises(ModelError, match=r"isn't on this machine .* `hf download Qwen/Qwen3.5-9B`"):
        tuned.generate("question")
    # The base isn't at hand; the service's adapter has the shape of the tiny model.
    base = Model(id=str(tiny_model))
    tokens = load_tokenizer(base)("question", return_tensors="pt")
    with torch.no_grad():
        before = load_model(base, dtype="float32", device="cpu")(**tokens).logits
        after = load_model(base.replace(adapter=tuned.adapter), dtype="float32", device="cpu")(**tokens).logits
    assert before.shape == after.shape
    assert not torch.allclose(before, after)
    assert isinstance(base.replace(adapter=tuned.adapter).generate("question", max_new_tokens=8), str)
