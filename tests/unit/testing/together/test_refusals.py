"""What the stand-in for Together refuses, and what it says then."""

# The client declares every field of an answer as optional, and some not at all.
# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportOptionalIterable=false, reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.testing.together import TogetherService

together = pytest.importorskip("together", reason="the extra 'together' isn't installed")

if TYPE_CHECKING:
    from together import Together

GOOD = {
    "training_file": "file-00000001",
    "model": "example/tiny-instruct",
    "n_epochs": 1,
    "learning_rate": 1e-4,
    "batch_size": "max",
    "training_method": {"method": "sft", "train_on_inputs": "auto"},
    "training_type": {"type": "Lora", "lora_r": 8, "lora_alpha": 16},
}


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"batch_sise": 8}, 422, "unknown field 'batch_sise'"),
        ({"training_file": None}, 422, "training_file"),
        ({"n_epochs": "3"}, 422, "n_epochs must be an integer"),
        ({"model": ""}, 422, "exactly one of model and from_checkpoint"),
        ({"from_checkpoint": "ft-1"}, 422, "exactly one of model and from_checkpoint"),
        ({"training_method": {"method": "ppo"}}, 422, "'sft' or 'dpo'"),
        (
            {"training_method": {"method": "dpo", "train_on_inputs": "auto"}},
            422,
            "unknown field 'training_method.train_on_inputs'",
        ),
        ({"training_method": {"method": "sft"}}, 422, "train_on_inputs is required"),
        ({"training_method": {"method": "dpo"}}, 400, "format 'instruction', which dpo can't use"),
        ({"training_type": {"type": "Lora", "lora_alpha": 16}}, 422, "lora_r is required"),
        ({"training_type": {"type": "Lora", "lora_r": 65, "lora_alpha": 16}}, 400, "higher than the maximum of 64"),
        ({"batch_size": 7}, 400, "lower than the minimum of 8"),
        ({"batch_size": 33}, 400, "higher than the maximum of 32"),
        ({"n_epochs": 21}, 400, "higher than the maximum of 20"),
        ({"learning_rate": 0.0}, 400, "lower than the minimum"),
        ({"learning_rate": 1.0}, 400, "higher than the maximum"),
        ({"max_seq_length": 9000}, 400, "higher than the maximum of 8192"),
        ({"early_stopping_enabled": True, "n_evals": 9}, 400, "requires a validation file"),
        (
            {"early_stopping_enabled": True, "n_evals": 3, "validation_file": "file-00000001"},
            400,
            "warmup_evals + 1 = 4",
        ),
        ({"suffix": "x" * 41}, 400, "1 to 40"),
        ({"model": "example/unknown"}, 404, "not available for fine-tuning"),
        ({"model": "openai/gpt-oss-20b", "training_type": {"type": "Full"}}, 400, "full training is not supported"),
        ({"training_file": "file-unknown"}, 404, "no file"),
        ({"training_file": "file-00000002"}, 400, "not COMPLETED"),
    ],
)
def test_a_request_that_the_real_service_would_refuse_is_refused(
    client: Together, service: TogetherService, upload: Any, change: dict[str, Any], status: int, says: str
) -> None:
    upload()
    upload('{"text": "not processed yet"}\n', waits=False)
    with pytest.raises(together.APIStatusError) as caught:
        client.post("/v1/fine-tunes", body={**GOOD, **change}, cast_to=object)
    assert (caught.value.status_code, says in str(caught.value)) == (status, True), str(caught.value)
    assert len(service.jobs) == 0


def test_what_the_refused_requests_were_made_from_is_accepted(
    client: Together, service: TogetherService, upload: Any
) -> None:
    upload()
    client.post("/v1/fine-tunes", body=GOOD, cast_to=object)
    assert len(service.jobs) == 1


def test_limits_of_models_and_jobs_have_zeros_without_full_training(client: Together, start: Any) -> None:
    assert client.fine_tuning.model_limits(model_name="example/tiny-instruct").lora_training.max_rank == 64
    assert client.fine_tuning.model_limits(model_name=start()).api_model_name == "example/tiny-instruct"
    limits = client.fine_tuning.model_limits(model_name="deepseek-ai/DeepSeek-V3.1")
    assert (limits.supports_full_training, limits.full_training.max_batch_size) == (False, 0)
    with pytest.raises(together.NotFoundError):
        client.fine_tuning.model_limits(model_name="example/unknown")
    assert "Qwen/Qwen3.5-9B" in client.get("/v1/fine-tunes/models/supported", cast_to=object)["models"]


def test_a_base_url_that_ends_in_v1_finds_nothing(service: TogetherService) -> None:
    http = together.DefaultHttpxClient(trust_env=False, verify=False)
    client = together.Together(api_key=service.key, base_url=f"{service.base_url}/v1", max_retries=0, http_client=http)
    with client, pytest.raises(together.NotFoundError, match="GET /v1/v1/fine-tunes"):
        client.fine_tuning.list()
