"""What a backend offers, and the gaps between that and a spec."""

from __future__ import annotations

from ftsdk.errors import Gap, UnsupportedSpecError
from ftsdk.spec import JobSpec, Value, set_fields

__all__ = ["Capabilities", "find_gaps", "refuse"]


class Capabilities(Value):
    """What a backend can do, as data: read offline, before anything is sent."""

    methods: frozenset[str]
    """Kinds of method: `{"sft", "dpo"}`."""
    tunings: frozenset[str]
    """Kinds of tuning: `{"lora", "full"}`."""
    formats: frozenset[str]
    """Formats of data: `{"chat", "preference", "unpaired"}`."""
    model_sources: frozenset[str]
    """Where models may come from: `{"hub", "folder", "gguf"}`."""
    fields: frozenset[str]
    """Dotted paths of the optional fields that are honoured, such as `"seed"` or `"tuning.dropout"`."""

    def honours(self, path: str) -> bool:
        """Return whether the field, or any field inside it (`early_stopping`), is honoured."""
        return path in self.fields or any(field.startswith(f"{path}.") for field in self.fields)


def find_gaps(spec: JobSpec, capabilities: Capabilities) -> list[Gap]:
    """Return the fields of a spec that the backend doesn't offer. Every backend's `plan` begins with this."""
    gaps: list[Gap] = []
    for path, asked, offered in (
        ("method", spec.method.kind, capabilities.methods),
        ("tuning", spec.tuning.kind, capabilities.tunings),
        ("train.format", spec.train.format, capabilities.formats),
        ("model.source", spec.model.source, capabilities.model_sources),
    ):
        if asked not in offered:
            gaps.append(Gap(path, asked, tuple(sorted(offered))))
    refused_whole = {gap.field for gap in gaps}
    for path, asked in set_fields(spec).items():
        head = path.split(".")[0]
        if head in ("train", "validation", "name") or path == "model.id" or (head in refused_whole and head != path):
            continue
        if not capabilities.honours(path) and not _comes_with_its_part(spec, path, capabilities):
            gaps.append(Gap(path, asked))
    if spec.validation is not None and "validation" not in capabilities.fields:
        gaps.append(Gap("validation", spec.validation.name))
    return gaps


def _comes_with_its_part(spec: JobSpec, path: str, capabilities: Capabilities) -> bool:
    """Return whether a part that is honoured can't be without a field, such as `method.privacy.epsilon`."""
    *owners, name = path.split(".")
    has_part = len(owners) > 1 and capabilities.honours(".".join(owners))
    if not has_part:
        return False
    owner: object = spec
    for part in owners:
        owner = getattr(owner, part)
    return isinstance(owner, Value) and type(owner).model_fields[name].is_required()


def refuse(backend: str, gaps: list[Gap]) -> None:
    """Raise if there is any gap.

    Raises:
        UnsupportedSpecError: `gaps` isn't empty.
    """
    if gaps:
        raise UnsupportedSpecError(backend, gaps)
