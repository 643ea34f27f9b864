"""Small valid specs, and two values for every optional field of a spec."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ftsdk.spec import SFT, DataFormat, DatasetRef, EarlyStopping, JobSpec, Model, Privacy, Value
from ftsdk.spec.base import union_members
from ftsdk.spec.positional import by_name_only

__all__ = ["Sample", "a_dataset", "a_spec", "field_samples", "members_of", "optional_fields", "spec_with"]


def a_dataset(name: str = "train", *, data_format: DataFormat = "chat", rows: int = 100) -> DatasetRef:
    """Name rows that don't exist: the fingerprint has the right form, and another one for another name or format."""
    fingerprint = hashlib.sha256(f"{name} {data_format} {rows}".encode()).hexdigest()
    return DatasetRef(fingerprint=fingerprint, format=data_format, rows=rows, name=name)


def a_spec(**changes: Any) -> JobSpec:
    """Return a small valid spec in which nothing optional is set.

    Args:
        changes: Fields of `JobSpec`. Without `train`, the training data has the format that `method` learns from.
    """
    method = changes.get("method") or SFT()
    fields: dict[str, Any] = {
        "model": Model(id="example/tiny-instruct"),
        "train": a_dataset(data_format=method.data_format),
    }
    return JobSpec(**{**fields, **changes})


@by_name_only
@dataclass(frozen=True, kw_only=True)
class Sample:
    """Two values for one optional field, and what the spec must have besides."""

    path: str
    """Dotted: `"seed"`, `"tuning.dropout"`."""
    values: tuple[Any, Any]
    method: str | None = None
    """The kind of method that owns the field; None for any."""
    tuning: str | None = None
    """The kind of tuning that owns the field; None for any."""
    needs_validation: bool = False

    def __str__(self) -> str:
        owner = self.method or self.tuning
        return self.path + (f" of {owner}" if owner else "")


# Two values that no backend may treat alike. A field without an entry makes `field_samples` fail, so that nobody
# forgets one.
_VALUES: Mapping[str, tuple[Any, Any]] = {
    "batch_size": (4, 8),
    "budget_usd": (5, 50),
    "checkpoint_steps": (5, 50),
    "dtype": ("float32", "bfloat16"),
    "early_stopping": (EarlyStopping(), None),
    "early_stopping.min_delta": (0.001, 0.1),
    "early_stopping.patience": (1, 5),
    "epochs": (1, 2),
    "eval_steps": (5, 50),
    "learning_rate": (1e-4, 3e-5),
    "max_grad_norm": (0.3, 1.0),
    "max_length": (256, 512),
    "max_steps": (7, 70),
    "max_truncated": (0.0, 0.5),
    "method.beta": (0.05, 0.3),
    "method.desirable_weight": (0.5, 2.0),
    "method.gamma": (0.5, 1.5),
    "method.neftune_alpha": (5.0, 10.0),
    "method.privacy": (Privacy(epsilon=4, delta=1e-5), Privacy(epsilon=8, delta=1e-5)),
    "method.privacy.max_grad_norm": (0.5, 2.0),
    "method.train_on": ("completion", "all"),
    "method.undesirable_weight": (0.5, 2.0),
    "model.add_tokens": (("<order>",), ("<order>", "</order>")),
    "model.adapter": ("adapters/first", "adapters/second"),
    "model.chat_template": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}",
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}",
    ),
    "model.revision": ("main", "0123456789abcdef0123456789abcdef01234567"),
    "model.trust_remote_code": (True, False),
    "optimizer": ("adamw_8bit", "adamw"),
    "packing": (True, False),
    "schedule": ("linear", "constant"),
    "seed": (7, 8),
    "tuning.alpha": (8.0, 64.0),
    "tuning.double_quantization": (False, True),
    "tuning.dropout": (0.0, 0.2),
    "tuning.init": ("pissa", "olora"),
    "tuning.init_text": ("Sort this mail.", "Answer with one word."),
    "tuning.layers": ((0,), (0, 1)),
    "tuning.rank": (4, 8),
    "tuning.rank_stabilized": (True, False),
    "tuning.target_modules": (("q_proj",), ("q_proj", "v_proj")),
    "tuning.virtual_tokens": (4, 8),
    "validation": (a_dataset("validation", rows=10), a_dataset("other validation", rows=20)),
    "warmup_ratio": (0.0, 0.2),
    "weight_decay": (0.0, 0.1),
}
_NEED_VALIDATION = ("early_stopping", "eval_steps")


def members_of(field: str) -> dict[str, type[Value]]:
    """Return the members of the union in a field of `JobSpec`, by kind: `members_of("method")["dpo"]` is `DPO`."""
    return {**union_members(JobSpec.model_fields[field].annotation)}


def optional_fields() -> frozenset[str]:
    """List every optional field of `JobSpec` by dotted path: what `Capabilities.fields` may hold."""
    return frozenset(sample.path for sample in field_samples())


def field_samples() -> tuple[Sample, ...]:
    """Return two values for every optional field of `JobSpec`, found by reflection.

    Names are left out, and so is what isn't optional: the model's id and the training data.

    Raises:
        LookupError: A field has no values here, or values are kept for a field that is no more.
    """
    found = tuple(_walk(JobSpec, ""))
    paths = {sample.path for sample in found}
    if paths != set(_VALUES):
        raise LookupError(f"ftsdk.testing.specs has values for fields that are no more: {sorted(set(_VALUES) - paths)}")
    return found


def spec_with(
    path: str, value: Any, *, base: JobSpec | None = None, method: str | None = None, tuning: str | None = None
) -> JobSpec:
    """Return a spec in which one field is set.

    Args:
        path: Dotted path of the field.
        value: Its value.
        base: The spec to start from; None: `a_spec()`.
        method: Kind of the method that owns the field, if `path` is in `method`.
        tuning: Kind of the tuning that owns the field, if `path` is in `tuning`.

    Raises:
        SpecError: The spec that comes out isn't valid, for example for want of validation data.
    """
    base = a_spec() if base is None else base
    head, dot, rest = path.partition(".")
    if not dot:
        return base.replace(**{head: value})
    kind = {"method": method, "tuning": tuning}.get(head)
    owner: object = getattr(base, head)
    if kind is not None and getattr(owner, "kind", None) != kind:
        owner = members_of(head)[kind]()
    elif owner is None:
        owner = next(iter(_values_in(JobSpec.model_fields[head].annotation)))()
    part, dot, field = rest.partition(".")
    if dot:
        inner = getattr(owner, part)
        rest, value = part, (_VALUES[f"{head}.{part}"][0] if inner is None else inner).replace(**{field: value})
    return base.replace(**{head: cast("Value", owner).replace(**{rest: value})})


def _values_in(annotation: object) -> Iterator[type[Value]]:
    if isinstance(annotation, type) and issubclass(annotation, Value):
        yield annotation
    for argument in cast("tuple[object, ...]", getattr(annotation, "__args__", ())):
        yield from _values_in(argument)


def _walk(owner: type[BaseModel], prefix: str, kind: str | None = None) -> Iterator[Sample]:
    kind = str(owner.model_fields["kind"].default) if "kind" in owner.model_fields else kind
    for name, field in owner.model_fields.items():
        path = f"{prefix}{name}"
        if name in ("name", "kind") or path == "train" or path == "model.id":
            continue
        if path != "validation":
            for member in _values_in(field.annotation):
                yield from _walk(member, f"{path}.", kind)
        if not field.is_required() and not _is_union(field):
            yield _sample(kind, path)


def _is_union(field: FieldInfo) -> bool:
    return any("kind" in member.model_fields for member in _values_in(field.annotation))


def _sample(kind: str | None, path: str) -> Sample:
    if path not in _VALUES:
        raise LookupError(f"the field {path!r} of JobSpec is new here: give two values for it in ftsdk.testing.specs")
    head = path.split(".")[0]
    return Sample(
        path=path,
        values=_VALUES[path],
        method=kind if head == "method" else None,
        tuning=kind if head == "tuning" else None,
        needs_validation=head in _NEED_VALIDATION,
    )
