"""Servers on Modal: an app with one function, behind an address of its own, that scales to zero.

The app has the deployment's name, so any process finds and stops it. The address is public: the server asks for the
key, and a request without it wakes a container all the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import httpx

from ftsdk._secrets import check_key
from ftsdk.backends.launchers.modal import server_container
from ftsdk.backends.launchers.modal.apps import Apps
from ftsdk.backends.launchers.modal.client import import_modal, modal_call, modal_client
from ftsdk.backends.launchers.modal.gpus import Book, GpuChoice, offers, read_gpus
from ftsdk.backends.launchers.modal.options import Options
from ftsdk.errors import BackendError, CredentialsError, UnsupportedSpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import TEMPLATE_FILE, RentedServer, ServingOffer, ServingPlan, ServingStatus

__all__ = ["ModalServing"]

FUNCTION = "serve"
RUNS_MOUNT = "/ftsdk"
_CACHE_MOUNT = "/ftsdk-cache"
_CACHE_VOLUME = "ftsdk-cache"
_VLLM = "vllm==0.32.0"
_CORES = 4.0
_MEMORY_GIB = 16
"""Of the host: vLLM loads weights straight to the GPU."""
_START_S = 1200
"""The most that a start may take: the download of the weights on the first one, and their way to the GPU."""
_AT_ONCE = 64
"""Requests that one container takes."""
_LOOK_S = 15.0
_IDLE_S = (60, 1200)
"""Modal allows 2 s to 20 min; below a minute each request would wait for a start."""


class ModalServing:
    """Rents containers for servers.

    Args:
        options: The arguments of `Modal(...)`.
        clock: Seconds since the epoch.
    """

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._apps = Apps(environment=options.environment)
        self._clock = clock

    def adapter_folder(self, run_id: str) -> str:
        """Return where a run's adapter is in a container."""
        return f"{RUNS_MOUNT}/runs/{run_id}/artifact"

    def offers(self, server: RentedServer | None) -> list[ServingOffer]:
        """List the GPUs with enough memory, the cheapest first.

        Raises:
            UnsupportedSpecError: There is no such GPU.
        """
        book = offers()
        if server is not None and server.gpu is not None:
            choices, gaps = read_gpus(server.gpu, book)
            if gaps or not choices:
                raise UnsupportedSpecError("modal", gaps)
        else:
            choices = tuple(GpuChoice(gpu=gpu) for gpu in book.gpus.values())
        needed = 0.0 if server is None else server.memory_gib
        fitting = [choice for choice in choices if choice.gpu.memory_gib * choice.count >= needed]
        found = [_offer(choice, book, self._options.region, server) for choice in fitting]
        return sorted(found, key=lambda offer: offer.price_usd_per_hour or Decimal(0))

    def start(self, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]) -> None:
        """Deploy the app. A deployment under the same name replaces the one before, so that there are never two."""
        server = RentedServer.from_json(plan.offer.native["server"])
        key = check_key(os.environ.get(server.api_key_env, ""), source=server.api_key_env)
        if not key:
            raise CredentialsError(
                f"the address of the server is public, so it needs a key; set the environment variable "
                f"{server.api_key_env} to one of your own making"
            )
        order = {
            "command": list(server.command),
            "ends_at": self._clock() + plan.offer.start_s + plan.max_s,
            "template": server.chat_template,
            "template_file": TEMPLATE_FILE,
        }
        common = {"models": json.dumps(server.models), "api_key_env": server.api_key_env}
        note(common)
        url = self._deployed(name, server, plan, order, key)
        note({**common, "url": url})

    def poll(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Return the state. The look wakes a container, which is what a start is."""
        app = next((app for app in self._apps.live() if app.name == name), None)
        if app is None:
            return ServingStatus(state="gone", native="no app")
        if "url" not in native:
            return ServingStatus(state="unknown", native="deployed", reason="its address isn't known; stop it")
        key = os.environ.get(native["api_key_env"], "")
        url = f"{native['url'].rstrip('/')}/v1"
        try:
            answer = httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"}, timeout=_LOOK_S)
            there = [str(one["id"]) for one in answer.json()["data"]] if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return ServingStatus(state="starting", native=type(error).__name__)
        if there is None:
            return ServingStatus(state="starting", native=f"HTTP {answer.status_code}")
        models: list[str] = json.loads(native["models"])
        if missing := [model for model in models if model not in there]:
            return ServingStatus(state="failed", native="models missing", reason=f"it lacks {', '.join(missing)}")
        return ServingStatus(
            state="ready",
            native="answers",
            endpoint=Endpoint(url=url, model=models[-1], api_key_env=native["api_key_env"], timeout_s=1800.0),
        )

    def stop(self, name: str) -> ServingStatus:
        """Stop the app and its containers, and return whether it is gone."""
        for app in self._apps.live():
            if app.name == name:
                self._apps.stop(app.app_id)
        still = [app for app in self._apps.live() if app.name == name]
        return ServingStatus(state="stopping" if still else "gone", native="stopping" if still else "no app")

    @modal_call("deploying server {name}")
    def _deployed(self, name: str, server: RentedServer, plan: ServingPlan, order: Mapping[str, Any], key: str) -> str:
        modal = import_modal()
        environment, options = self._options.environment, self._options
        app = modal.App(name, tags={"ftsdk-server": name[:63]}, include_source=False)
        image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(_VLLM).add_local_python_source("ftsdk")
        secrets = [modal.Secret.from_dict({"VLLM_API_KEY": key})]
        if options.secret:
            secrets.append(modal.Secret.from_name(options.secret, environment_name=environment))
        served = modal.web_server(server.port, startup_timeout=plan.offer.start_s)(server_container.serve)
        function = app.function(
            image=image,
            name=FUNCTION,
            gpu=plan.offer.hardware,
            cpu=(_CORES, _CORES),
            memory=(_MEMORY_GIB * 1024, _MEMORY_GIB * 1024),
            region=options.region,
            timeout=86_400,
            startup_timeout=plan.offer.start_s,
            scaledown_window=plan.idle_stop_s,
            min_containers=server.min_containers,
            max_containers=1,
            volumes={
                RUNS_MOUNT: modal.Volume.from_name(options.volume, environment_name=environment),
                _CACHE_MOUNT: modal.Volume.from_name(
                    _CACHE_VOLUME, environment_name=environment, create_if_missing=True, version=2
                ),
            },
            secrets=secrets,
            env={
                server_container.ORDER: json.dumps(order),
                "HF_HOME": f"{_CACHE_MOUNT}/huggingface",
                "HF_HUB_DISABLE_TELEMETRY": "1",
            },
            include_source=False,
        )(modal.concurrent(max_inputs=_AT_ONCE)(served))
        app.deploy(name=name, client=modal_client(), environment_name=environment)
        url = function.get_web_url()
        if not url:
            raise BackendError(f"app {name} was deployed, and has no address; it is stopped")
        return str(url)


def _offer(choice: GpuChoice, book: Book, region: str | None, server: RentedServer | None) -> ServingOffer:
    """Return the price of one container an hour: the GPU at the most that Modal may bill for it, cores and memory."""
    per_s = choice.gpu.ceiling_usd_per_s * choice.count
    per_s += book.core_usd_per_s * Decimal(str(_CORES)) + book.memory_usd_per_gib_s * _MEMORY_GIB
    price = choice.gpu.price
    return ServingOffer(
        hardware=str(choice),
        gpu_type=choice.gpu.name,
        gpu_count=choice.count,
        gpu_memory_gib=int(choice.gpu.memory_gib),
        price_usd_per_hour=(per_s * 3600 * book.region_multiplier(region)).quantize(Decimal("0.0001")),
        source=str(price.source),
        as_of=str(price.as_of),
        idle_stop_s_min=_IDLE_S[0],
        idle_stop_s_max=_IDLE_S[1],
        start_s=_START_S,
        native={} if server is None else {"server": server.to_json()},
    )
