from __future__ import annotations

import pytest

from ftsdk import Local, SpecError
from ftsdk.backends.launchers.worker_environment import worker_environment

ENVIRONMENT = {
    "PATH": "/bin",
    "HF_TOKEN": "needed",
    "https_proxy": "http://proxy",
    "OMP_NUM_THREADS": "2",
    "CUDA_VISIBLE_DEVICES": "0",
    "WANDB_API_KEY": "w",
    "OPENAI_API_KEY": "o",
    "TOGETHER_API_KEY": "t",
    "AWS_SECRET_ACCESS_KEY": "a",
    "MODAL_TOKEN_SECRET": "m",
    "SSH_AUTH_SOCK": "s",
}


def test_a_worker_gets_no_keys_but_those_it_needs() -> None:
    needed = {"PATH", "HF_TOKEN", "https_proxy", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"}
    assert set(worker_environment(ENVIRONMENT)) == needed
    assert set(worker_environment(ENVIRONMENT, parts=["trl", "wandb"])) == needed | {"WANDB_API_KEY"}
    assert set(worker_environment(ENVIRONMENT, names=["AWS_SECRET_ACCESS_KEY", "UNSET"])) == needed | {
        "AWS_SECRET_ACCESS_KEY"
    }


def test_the_names_of_more_variables_are_kept_with_the_backend() -> None:
    backend = Local(env=["MY_KEY"])
    assert Local(**backend.options).options == {"env": ["MY_KEY"]}
    assert Local().options == {}


@pytest.mark.parametrize("env", ["MY_KEY", ["MY_KEY=SEKRET"], ["sk-SEKRET-SEKRET"], [1], ["SEKRET0123456789"]])
def test_values_in_place_of_names_are_refused_unseen(env: list[str]) -> None:
    with pytest.raises(SpecError, match="names of environment variables") as found:
        Local(env=env)
    assert "SEKRET" not in str(found.value)
