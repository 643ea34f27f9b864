"""A server on loopback with the routes of dedicated inference, and a backend whose runs it can serve.

The server is strict where the real one is: nothing is deleted before it has stopped, and nothing answers without a
route.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.serving import TogetherServing
from ftsdk.protocol import RunRef
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus
from ftsdk.testing import ScriptedBackend

KEY = "tgp-0123456789-secret"
PROJECT = "proj_1"
_AT = "2026-11-24T00:00:00Z"
_ROUTES = r"/v2/projects/proj_1/endpoints(?:/(?P<ep>[^/]+)(?:/deployments(?:/(?P<dep>[^/]+))?)?)?"

Fault = Callable[[str, int], str | None]
"""From a request ("POST deployments") and its count to "lose" (works, connection closes), a status or None."""


class DedicatedInference(ThreadingHTTPServer):
    """The place. `looks` is how many times a deployment is looked at before it is ready, and before it has stopped."""

    daemon_threads = True

    def __init__(self, *, looks: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.looks = looks
        self.state_when_up = "READY"
        self.fault: Fault = lambda what, n: None
        self.job: dict[str, Any] = {"model_object_id": "ml_7", "model_object_revision_id": "rv_1"}
        self.configs = [
            config("cr_h100", "nvidia-h100-80gb", 1),
            config("cr_h100x2", "nvidia-h100-80gb", 2),
            config("cr_b200", "nvidia-b200-180gb", 1),
        ]
        self.base_configs: list[dict[str, Any]] = []
        self.hardware = [
            instance("it_1", "1xnvidia-h100-80gb", "H100", 1, 399),
            instance("it_2", "2xnvidia-h100-80gb", "H100", 2, 798),
            instance("it_3", "1xnvidia-b200-180gb", "B200", 1, 0),
        ]
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.started: list[dict[str, Any]] = []
        """Every request for a deployment that was granted: each would bill."""
        self.said: list[str] = []
        """What was asked for, in order: "POST endpoints", "DELETE deployment", ..."""
        self.keys: set[str] = set()
        self.times: Counter[str] = Counter()
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spending(self) -> list[str]:
        """The requests that start or make something."""
        return [what for what in self.said if what.startswith("POST") and what != "POST chat"]


class _Handler(BaseHTTPRequestHandler):
    server: DedicatedInference  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; waiting for each other they take 40 ms

    def do_GET(self) -> None:
        self._handle({})

    def do_DELETE(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_PATCH(self) -> None:
        self.do_POST()

    def _handle(self, body: dict[str, Any]) -> None:
        server = self.server
        path, _, query = self.path.partition("?")
        with server.lock:
            server.keys.add(self.headers["Authorization"])
            what = f"{self.command} {_word(path)}"
            server.said.append(what)
            server.times[what] += 1
            fault = server.fault(what, server.times[what])
            if fault is not None and fault.isdigit():
                status, answer = int(fault), {"error": {"message": f"no: {KEY}"}}
            else:
                status, answer = self._answer(path, query, body)
        if fault == "lose":
            self.close_connection = True
            return
        content = b"<html>later</html>" if fault == "garbage" else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if fault == "garbage" else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, path: str, query: str, body: dict[str, Any]) -> tuple[int, Any]:
        server = self.server
        if path == "/whoami" or path.endswith("/whoami"):
            return 200, {"type": "project_api_key", "project": {"id": PROJECT, "name": "p", "slug": "slug"}}
        if path.startswith("/v1/fine-tunes/"):
            return 200, {"id": "ft-1", "status": "completed", "user_id": "u", **server.job}
        if path == "/v2/public/inference-instance-types":
            return 200, {"object": "list", "data": server.hardware}
        if path == f"/v2/projects/{PROJECT}/configs":
            return 200, {"data": server.configs if "ml_7" in query else server.base_configs}
        if path.startswith(f"/v2/projects/{PROJECT}/models/"):
            return 200, {
                "id": "ml_7",
                "name": "slug/tuned",
                "projectId": PROJECT,
                "baseModel": "projects/public/models/ml_base",
            }
        if path == "/v1/chat/completions":
            return self._chat(body)
        found = re.fullmatch(_ROUTES, path)
        if found is None:
            return 404, {"error": {"message": f"no route {path}"}}
        if "/deployments" in path:
            return self._deployment(found["ep"], found["dep"], body)
        return self._endpoint(found["ep"], query, body)

    def _endpoint(self, id_: str | None, query: str, body: dict[str, Any]) -> tuple[int, Any]:
        endpoints = self.server.endpoints
        if id_ is None:
            if self.command == "GET":
                return 200, {"data": list(endpoints.values())}
            if any(one["name"] == f"slug/{body['name']}" for one in endpoints.values()):
                return 409, {"error": {"message": "the name is taken"}}
            new = {
                "id": f"ep_{len(endpoints) + 1}",
                "name": f"slug/{body['name']}",
                "trafficSplit": [],
                "projectId": PROJECT,
                "createdAt": _AT,
            }
            endpoints[new["id"]] = new
            return 200, new
        if id_ not in endpoints:
            return 404, {"error": {"message": "no such endpoint"}}
        if self.command == "PATCH":
            if not body.get("trafficSplit") and "trafficSplit" not in query:
                return 400, {"error": {"message": "no fields to update"}}
            endpoints[id_]["trafficSplit"] = body["trafficSplit"]
        if self.command == "DELETE":
            if any(one["endpointId"] == id_ for one in self.server.deployments.values()):
                return 400, {"error": {"message": "it has deployments"}}
            return 200, endpoints.pop(id_) and {}
        return 200, endpoints[id_]

    def _deployment(self, endpoint: str, id_: str | None, body: dict[str, Any]) -> tuple[int, Any]:
        server = self.server
        if endpoint not in server.endpoints:
            return 404, {"error": {"message": "no such endpoint"}}
        if id_ is None and self.command == "POST":
            new = {
                "id": f"dep_{len(server.started) + 1}",
                "endpointId": endpoint,
                "state": "PROVISIONING",
                "looks": 0,
                **body,
            }
            server.deployments[new["id"]] = new
            server.started.append(new)
            return 200, _shown(new, server)
        if id_ is None:
            mine = [one for one in server.deployments.values() if one["endpointId"] == endpoint]
            for one in mine:
                _pass(one, server)
            return 200, {"data": [_shown(one, server) for one in mine]}
        if id_ not in server.deployments:
            return 404, {"error": {"message": "no such deployment"}}
        one = server.deployments[id_]
        if self.command == "PATCH" and body["autoscaling"]["maxReplicas"] == 0:
            one.update(autoscaling=body["autoscaling"], state="STOPPING", looks=0)
        if self.command == "DELETE":
            if one["state"] not in ("STOPPED", "FAILED"):
                return 400, {"error": {"message": f"it is {one['state']}; stop it first"}}
            if any(entry["deploymentId"] == id_ for entry in server.endpoints[endpoint]["trafficSplit"]):
                return 400, {"error": {"message": "it is part of the traffic split"}}
            return 200, server.deployments.pop(id_) and {}
        return 200, _shown(one, server)

    def _chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        for one in self.server.endpoints.values():
            ready = {d["id"] for d in self.server.deployments.values() if d["state"] == "READY"}
            if one["name"] == body["model"] and any(entry["deploymentId"] in ready for entry in one["trafficSplit"]):
                return 200, {
                    "choices": [{"message": {"role": "assistant", "content": body["messages"][-1]["content"]}}]
                }
        return 404, {"error": {"message": f"unable to access model {body['model']}"}}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


def _pass(one: dict[str, Any], server: DedicatedInference) -> None:
    if one["state"] in ("PROVISIONING", "STOPPING"):
        one["looks"] += 1
        if one["looks"] > server.looks:
            one["state"] = "STOPPED" if one["state"] == "STOPPING" else server.state_when_up


def _shown(one: Mapping[str, Any], server: DedicatedInference) -> dict[str, Any]:
    name = f"{server.endpoints[one['endpointId']]['name']}/{one['name']}"
    state = {
        "state": f"DEPLOYMENT_STATE_{one['state']}",
        "message": one["state"].lower(),
        "readyReplicas": int(one["state"] == "READY"),
    }
    return {
        **{key: one[key] for key in ("id", "autoscaling", "model", "config", "endpointId")},
        "name": name,
        "status": state,
    }


def _word(path: str) -> str:
    if found := re.fullmatch(_ROUTES, path):
        return (
            ("deployment" if found["dep"] else "deployments")
            if "/deployments" in path
            else "endpoint"
            if found["ep"]
            else "endpoints"
        )
    return {"completions": "chat", "inference-instance-types": "hardware"}.get(
        path.rpartition("/")[2], path.rpartition("/")[2]
    )


def config(id_: str, gpu: str, count: int) -> dict[str, Any]:
    selectors = [{"key": "accelerator_type", "value": gpu}, {"key": "accelerator_count", "value": str(count)}]
    return {
        "id": id_,
        "projectId": "public",
        "selectors": selectors,
        "certifications": [],
        "referenceModel": "",
        "referenceModelId": "",
    }


def instance(id_: str, name: str, gpu: str, count: int, cents: int) -> dict[str, Any]:
    return {

        "id": id_, "name": name, "gpuType": gpu, "gpuCount": count, "gpuMemoryGib": 80, "priceCentsPerHour": cents,
        "regions": [], "description": "",
    }  # fmt: skip


def serving_at(url: str, *, project_id: str | None = PROJECT, max_retries: int = 0) -> TogetherServing:
    """Together's serving through the real client, which talks to the server."""
    wire = Wire(key=KEY, base_url=url, project_id=project_id, timeout_s=5, max_retries=max_retries)
    return TogetherServing(wire.serving(), clock=lambda: 1_800_000_000.0, sleep=lambda seconds: None)


class ServedBackend(ScriptedBackend):
    """A scripted backend whose runs are served by the server at `serving_url`."""

    def __init__(self, *, serving_url: str, **options: Any) -> None:
        super().__init__(**options)
        self._serving_url = serving_url
        self.serving = serving_at(serving_url)

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "serving_url": self._serving_url}

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        return self.serving.offers("ft-1")

    def start_serving(
        self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]
    ) -> None:
        self.serving.start("ft-1", plan, name=name, note=note)

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        return self.serving.poll(name, native)

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        return self.serving.stop(name, native)
