"""Upload an export to the Hugging Face hub: one commit, of the files that its manifest lists."""

from __future__ import annotations

from pathlib import Path

from ftsdk.errors import CredentialsError, ModelError
from ftsdk.models.export.export_manifest import MANIFEST, check_servable
from ftsdk.models.hub_cache import check_hub_id, hub_cause
from ftsdk.models.torch_stack import late_imports

__all__ = ["push_to_hub"]


def push_to_hub(
    folder: str | Path,
    repo: str,
    *,
    private: bool = True,
    allow_failed: bool = False,
    message: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload an export, its model card included, as one commit.

    The token is huggingface_hub's own: `hf auth login`, or the variable HF_TOKEN.

    Args:
        folder: What was exported to. What isn't in its manifest isn't uploaded.
        repo: Such as `"me/mails-v3"`; made if it isn't there.
        private: Whether a new repository is private. One that exists stays as it is.
        allow_failed: Upload an export that isn't the model that was evaluated.
        message: Of the commit.
        endpoint: The address of another hub.

    Returns:
        The address of the commit.

    Raises:
        ModelError: The export failed its gates, or the hub refuses the upload.
        CorruptArtifactError: The folder isn't a whole export.
        CredentialsError: There is no token, or it may not write there.
        MissingExtraError: huggingface_hub isn't installed.
    """
    check_hub_id(repo)
    manifest = check_servable(folder, allow_failed=allow_failed)
    with late_imports("uploading to the Hugging Face hub"):
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
    api = HfApi(endpoint=endpoint)
    said = message or f"Export: {manifest['to']}, {manifest['quantization']} ({manifest['state']})"
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=Path(folder).expanduser(),
            allow_patterns=[*manifest["files"], MANIFEST],
            commit_message=said,
        )
    except LocalTokenNotFoundError as error:
        raise CredentialsError("there is no token for the Hugging Face hub. Log in with `hf auth login`") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise CredentialsError(
                f"the Hugging Face hub refuses to write to {repo} ({status}). Log in with `hf auth login`, with a "
                "token that may write there"
            ) from hub_cause(error)
        raise ModelError(f"the Hugging Face hub refuses the upload to {repo}: {error}") from hub_cause(error)
    except OSError as error:
        raise ModelError(
            f"{repo} wasn't uploaded: the Hugging Face hub can't be reached from here ({error}). Try again"
        ) from hub_cause(error)
    return str(commit.commit_url)
