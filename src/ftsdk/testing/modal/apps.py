"""Apps and what is around them: the workspace, its environment, its prices."""

# ruff: noqa: N802, D102, ARG002 - methods are RPCs, named and described by the protocol, and each is given its request

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.limits import billing_rates
from ftsdk.testing.modal.sources import BUILDER_VERSION
from ftsdk.testing.modal.world import HostSettings, found

__all__ = ["ENVIRONMENT", "Account", "App", "Apps"]

ENVIRONMENT = "main"


@dataclass(eq=False)
class App:
    """An app."""

    id: str
    description: str
    state: pb.AppState.ValueType
    tags: dict[str, str]
    created: float
    heartbeat: float
    name: str = ""
    """Only of a deployed app."""
    functions: dict[str, str] = field(default_factory=dict[str, str])
    """Name -> id, once published."""
    stopped: float = 0.0

    @property
    def is_stopped(self) -> bool:
        """Whether the app is stopped, which is final."""
        return self.state == pb.APP_STATE_STOPPED

    def metadata(self) -> pb.AppHandleMetadata:
        """Return what the client keeps of it."""
        lifecycle = pb.AppLifecycle(app_state=self.state, created_at=self.created, stopped_at=self.stopped)
        return pb.AppHandleMetadata(
            app_id=self.id,
            description=self.description,
            environment_name=ENVIRONMENT,
            lifecycle=lifecycle,
            functions=self.functions,
        )


class Apps:
    """All apps of the workspace."""

    def __init__(
        self,
        settings: HostSettings,
        *,
        end_calls: Callable[[str], None],
        is_busy: Callable[[str], bool],
        running: Callable[[str], int],
    ) -> None:
        self._settings = settings
        self._end_calls = end_calls
        self._is_busy = is_busy
        self._running = running
        self._apps: dict[str, App] = {}
        self._deployed: dict[str, str] = {}

    def app(self, app_id: str) -> App:
        """Return an app, as it is now.

        Raises:
            GRPCError: NOT_FOUND.
        """
        app = found(self._apps, app_id, "App")
        self._let_go(app)
        return app

    def everyone(self) -> list[App]:
        """Return all apps, the oldest first, stopped ones too."""
        for app in self._apps.values():
            self._let_go(app)
        return list(self._apps.values())

    def is_over(self, app_id: str) -> bool:
        """Return whether there is no running app with this id."""
        return app_id not in self._apps or self.app(app_id).is_stopped

    def idle(self, app_id: str) -> None:
        """Stop a detached app that has nothing left to do. Called when a call is over."""
        self._let_go(self._apps[app_id])

    def _let_go(self, app: App) -> None:
        """Stop apps that are no longer in use.

        An ephemeral app without a client, a detached app without client and work.
        """
        if (
            app.state in (pb.APP_STATE_EPHEMERAL, pb.APP_STATE_DETACHED)
            and time.time() - app.heartbeat > self._settings.client_lost_after_s
        ):
            self._client_has_gone(app)
        elif app.state == pb.APP_STATE_DETACHED_DISCONNECTED and not self._is_busy(app.id):
            self._stop(app)

    def _client_has_gone(self, app: App) -> None:
        if app.state == pb.APP_STATE_DETACHED:
            app.state = pb.APP_STATE_DETACHED_DISCONNECTED
            self._let_go(app)
        elif app.state in (pb.APP_STATE_EPHEMERAL, pb.APP_STATE_INITIALIZING):
            self._stop(app)

    def _stop(self, app: App) -> None:
        if not app.is_stopped:
            app.state, app.stopped = pb.APP_STATE_STOPPED, time.time()
            self._end_calls(app.id)

    def _create(self, description: str, state: pb.AppState.ValueType, tags: dict[str, str]) -> App:
        now = time.time()
        app = App(self._settings.ids.new("ap"), description, state, tags, now, now)
        self._apps[app.id] = app
        return app

    async def AppCreate(self, request: pb.AppCreateRequest) -> pb.AppCreateResponse:
        app = self._create(request.description, request.app_state, dict(request.tags))
        return pb.AppCreateResponse(app_id=app.id, app_page_url=f"{self._settings.http_url}/apps/{app.id}")

    async def AppPublish(self, request: pb.AppPublishRequest) -> pb.AppPublishResponse:
        app = self.app(request.app_id)
        if app.is_stopped:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app.id} is stopped")
        app.functions, app.state = {**request.function_ids, **request.class_ids}, request.app_state
        if request.app_state == pb.APP_STATE_DEPLOYED:
            app.name = request.name
            app.tags = dict(request.tags) or app.tags
            self._deployed[request.name] = app.id
        return pb.AppPublishResponse(url=f"{self._settings.http_url}/apps/{app.id}", deployed_at=time.time())

    async def AppHeartbeat(self, request: pb.AppHeartbeatRequest) -> Empty:
        self.app(request.app_id).heartbeat = time.time()
        return Empty()

    async def AppClientDisconnect(self, request: pb.AppClientDisconnectRequest) -> Empty:
        self._client_has_gone(self.app(request.app_id))
        return Empty()

    async def AppStop(self, request: pb.AppStopRequest) -> Empty:
        self._stop(self.app(request.app_id))
        return Empty()

    # Finding them again.

    def deployed(self, name: str) -> App | None:
        """Return the app that is deployed under a name, if there is one."""
        app_id = self._deployed.get(name)
        return None if app_id is None or self._apps[app_id].is_stopped else self._apps[app_id]

    async def AppGetByDeploymentName(
        self, request: pb.AppGetByDeploymentNameRequest
    ) -> pb.AppGetByDeploymentNameResponse:
        app = self.deployed(request.name)
        return pb.AppGetByDeploymentNameResponse(app_id=app.id if app else "")

    async def AppGetOrCreate(self, request: pb.AppGetOrCreateRequest) -> pb.AppGetOrCreateResponse:
        # `App.lookup`: an id finds every app, a name finds deployed ones only.
        app = self.app(request.app_name) if request.app_name in self._apps else self.deployed(request.app_name)
        if app is None:
            if request.object_creation_type != pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"App {request.app_name!r} not found")
            app = self._create(request.app_name, pb.APP_STATE_DEPLOYED, {})
            app.name = request.app_name
            self._deployed[app.name] = app.id
        return pb.AppGetOrCreateResponse(app_id=app.id, handle_metadata=app.metadata())

    async def AppGetInfo(self, request: pb.AppGetInfoRequest) -> pb.AppGetInfoResponse:
        return pb.AppGetInfoResponse(info=self.app(request.app_id).metadata())

    async def AppList(self, request: pb.AppListRequest) -> pb.AppListResponse:
        items = [
            pb.AppListResponse.AppListItem(
                app_id=app.id,
                name=app.name,
                description=app.description,
                state=app.state,
                created_at=app.created,
                stopped_at=app.stopped,
                n_running_tasks=self._running(app.id),
                metadata=app.metadata(),
            )
            for app in self.everyone()
        ]
        return pb.AppListResponse(apps=items)

    async def AppSetTags(self, request: pb.AppSetTagsRequest) -> Empty:
        self.app(request.app_id).tags = dict(request.tags)
        return Empty()

    async def AppGetTags(self, request: pb.AppGetTagsRequest) -> pb.AppGetTagsResponse:
        return pb.AppGetTagsResponse(tags=self.app(request.app_id).tags)


class Account:
    """One workspace with one environment."""

    async def ClientHello(self, request: Empty) -> pb.ClientHelloResponse:
        return pb.ClientHelloResponse()

    async def EnvironmentGetOrCreate(
        self, request: pb.EnvironmentGetOrCreateRequest
    ) -> pb.EnvironmentGetOrCreateResponse:
        if request.deployment_name not in ("", ENVIRONMENT):
            raise GRPCError(Status.NOT_FOUND, f"Environment {request.deployment_name!r} not found")
        settings = pb.EnvironmentSettings(image_builder_version=BUILDER_VERSION)
        return pb.EnvironmentGetOrCreateResponse(
            environment_id="en-main", metadata=pb.EnvironmentMetadata(name=ENVIRONMENT, settings=settings)
        )

    async def EnvironmentList(self, request: Empty) -> pb.EnvironmentListResponse:
        return pb.EnvironmentListResponse(
            items=[pb.EnvironmentListItem(name=ENVIRONMENT, environment_id="en-main", default=True)]
        )

    async def WorkspaceNameLookup(self, request: Empty) -> pb.WorkspaceNameLookupResponse:
        return pb.WorkspaceNameLookupResponse(workspace_name="loopback", username="loopback")

    async def WorkspaceBillingRates(self, request: pb.WorkspaceBillingRatesRequest) -> pb.WorkspaceBillingRatesResponse:
        rates = billing_rates()
        return pb.WorkspaceBillingRatesResponse(
            rates=rates, formatted="\n".join(f"{name}: ${rate}/s" for name, rate in rates.items())
        )
