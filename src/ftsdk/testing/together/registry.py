"""The registry of models: bases that are offered, and what jobs have made.

And the configurations that they can be deployed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.testing.together.answers import Answer, Clock, Refusal, answer_json
from ftsdk.testing.together.jobs import JobStore
from ftsdk.testing.together.offers import Hardware, ModelOffer

__all__ = ["PROJECT", "Registered", "Registry"]

PROJECT = {"id": "proj_tester", "name": "Tester", "slug": "tester"}
_ORGANIZATION = {"id": "org_tester", "name": "Testers"}
_PUBLIC = "proj_public"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A model in the registry."""

    id: str
    revision: str
    name: str
    project_id: str
    offer: ModelOffer
    """The base, or itself."""
    is_adapter: bool = False
    is_base: bool = False

    @property
    def resource(self) -> str:
        """`projects/{project}/models/{model}`."""
        return f"projects/{self.project_id}/models/{self.id}"

    def to_wire(self) -> dict[str, Any]:
        """Return it as the service shows it."""
        shown = {"id": self.id, "name": self.name, "projectId": self.project_id, "organizationId": _ORGANIZATION["id"]}
        base = (
            {}
            if self.is_base
            else {"baseModel": f"projects/{_PUBLIC}/models/{base_id(self.offer)}", "baseModelId": base_id(self.offer)}
        )
        kind = "WEIGHTS_TYPE_ADAPTER" if self.is_adapter else "WEIGHTS_TYPE_DEFAULT"
        return {
            **shown,
            **base,
            "visibility": "VISIBILITY_PRIVATE",
            "weights": {"type": kind, "architecture": "LlamaForCausalLM"},
        }


def base_id(offer: ModelOffer) -> str:
    """Return the id of a base in the registry."""
    return "ml_base_" + "".join(letter if letter.isalnum() else "-" for letter in offer.name.lower())


class Registry:
    """All models that can be deployed, and how."""

    def __init__(
        self, clock: Clock, offers: Mapping[str, ModelOffer], hardware: Sequence[Hardware], jobs: Callable[[], JobStore]
    ) -> None:
        self._clock = clock
        self._offers = offers
        self.hardware = tuple(hardware)
        self._jobs = jobs

    def models(self) -> list[Registered]:
        """Return all: the bases, and what completed jobs have made."""
        found = [
            Registered(
                id=base_id(offer), revision="rv_base", name=offer.name, project_id=_PUBLIC, offer=offer, is_base=True
            )
            for offer in self._offers.values()
        ]
        for job in self._jobs():
            if job.status == "completed" and job.has_model:
                for suffix, is_made in (("", job.makes_model), ("a", job.is_lora)):
                    if is_made:
                        found.append(
                            Registered(
                                id=f"{job.model_id}{suffix}",
                                revision=f"rv_{job.id[3:]}{suffix}",
                                name=job.output_name,
                                project_id=PROJECT["id"],
                                offer=job.offer,
                                is_adapter=bool(suffix),
                            )
                        )
        return found

    def find(self, resource: str) -> Registered:
        """Find a model by its resource name or id.

        Raises:
            Refusal: 404, there is none.
        """
        path, _, revision = resource.partition("/revisions/")
        for model in self.models():
            if path in (model.id, model.resource) and revision in ("", model.revision):
                return model
        raise Refusal(404, f"no model {resource!r}")

    def configs(self, model: Registered) -> list[dict[str, Any]]:
        """Return the configurations of a model: one for each kind of hardware."""
        if not model.offer.dedicated:
            return []
        base = base_id(model.offer)
        return [
            {
                "id": f"cr_{base[8:]}_{machine.name}",
                "projectId": PROJECT["id"],
                "referenceModel": f"projects/{_PUBLIC}/models/{base}",
                "referenceModelId": base,
                "certifications": [],
                "selectors": [
                    {"key": "accelerator_type", "value": machine.accelerator},
                    {"key": "accelerator_count", "value": str(machine.gpu_count)},
                ],
            }
            for machine in self.hardware
        ]

    def hardware_of(self, config: str, model: Registered) -> Hardware:
        """Find what a configuration runs on.

        Raises:
            Refusal: 400, it isn't one of the model's.
        """
        for known, machine in zip(self.configs(model), self.hardware, strict=False):
            if config == f"projects/{known['projectId']}/configs/{known['id']}":
                return machine
        raise Refusal(400, f"config {config!r} doesn't fit model {model.resource!r}", param="config")

    # Routes.

    def whoami(self) -> Answer:
        """`GET /v3/whoami`."""
        return answer_json(
            {
                "type": "project_api_key",
                "api_key": {"id": "key_tester"},
                "organization": _ORGANIZATION,
                "project": PROJECT,
            }
        )

    def list_hardware(self) -> Answer:
        """`GET /v2/public/inference-instance-types`."""
        return answer_json({"object": "list", "data": [each.to_wire() for each in self.hardware if each.listed]})

    def list_models(self) -> Answer:
        """`GET /v2/projects/{project}/models`."""
        return answer_json(
            {"object": "list", "data": [model.to_wire() for model in self.models() if not model.is_base]}
        )

    def list_configs(self, query: Mapping[str, str]) -> Answer:
        """`GET /v2/projects/{project}/configs`, of one model or of all."""
        wanted = query.get("referenceModel") or query.get("referenceModelId")
        models = [self.find(wanted)] if wanted else [model for model in self.models() if model.is_base]
        listed = [model for model in models if model.is_base or model.offer.configs_of_tuned]
        return answer_json({"object": "list", "data": [config for model in listed for config in self.configs(model)]})

    def config(self, config_id: str) -> Answer:
        """`GET /v2/projects/{project}/configs/{id}`."""
        for model in self.models():
            for config in self.configs(model):
                if config["id"] == config_id:
                    return answer_json(config)
        raise Refusal(404, f"no config {config_id!r}")

    def list_supported(self, query: Mapping[str, str]) -> Answer:
        """`GET /v2/supported-models`."""
        rows: list[dict[str, Any]] = []
        for offer in self._offers.values():
            products = ["PRODUCT_FINE_TUNING"]
            products += ["PRODUCT_DEDICATED"] if offer.dedicated else []
            products += ["PRODUCT_SERVERLESS"] if offer.serverless else []
            if query.get("product", products[0]) in products and query.get("search", "").lower() in offer.name.lower():
                rows.append(self._supported(offer, products))
        return answer_json({"object": "list", "data": rows})

    def _supported(self, offer: ModelOffer, products: list[str]) -> dict[str, Any]:
        model = self.find(base_id(offer))
        profiles = [
            {
                "profileId": f"prof_{config['id']}", "config": f"projects/{config['projectId']}/configs/{config['id']}",

                "certifiedConfigRevisionId": config["id"], "certifiedModelRevisionId": model.revision,
                "model": model.resource,

                "modelName": offer.name, "gpuType": machine.gpu_type, "gpuCount": machine.gpu_count,
                "parallelism": f"TP{machine.gpu_count}",
                "quantization": "BF16", "performanceBenchmarks": {}, "adapterMode": "ADAPTER_MODE_DYNAMIC",
            }
            for config, machine in zip(self.configs(model), self.hardware, strict=False)
        ]  # fmt: skip
        return {
            "id": f"sm_{model.id[3:]}",
            "name": offer.name, "displayName": offer.name.rpartition("/")[2], "displayType": "chat",
            "publisher": offer.name.partition("/")[0], "baseModel": model.resource, "baseModelId": model.id,

            "capabilities": ["CAPABILITY_CHAT"], "inputModalities": ["MODALITY_TEXT"],
            "outputModalities": ["MODALITY_TEXT"],
            "products": products, "deploymentProfiles": profiles, "status": "SUPPORTED_MODEL_STATUS_SUPPORTED",
            "createdAt": self._clock.text(), "updatedAt": self._clock.text(),
            "contextLength": str(offer.max_length_sft),
        }  # fmt: skip
