"""Functions: their definitions, checked as the service would."""

# ruff: noqa: N802, D102 - methods are RPCs, named and described by the protocol

from __future__ import annotations

from dataclasses import dataclass

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.apps import App, Apps
from ftsdk.testing.modal.limits import why_refused
from ftsdk.testing.modal.world import HostSettings, found, refused

__all__ = ["Function", "Functions"]


@dataclass(eq=False)
class Function:
    """A function of an app."""

    id: str
    app_id: str
    data: pb.FunctionData
    """The definition from the request. Its `ranked_functions` are the wanted hardware, the best first."""
    address: str = ""
    """Where requests to it go, if it is a web function."""

    @property
    def definition(self) -> pb.Function:
        """What runs: nothing is scarce here, so it gets the hardware that it likes best."""
        return self.data.ranked_functions[0].function

    @property
    def nodes(self) -> int:
        """Containers that work on one input together."""
        return max(1, self.definition._experimental_group_size)

    def handle(self) -> pb.FunctionHandleMetadata:
        """Return what the client keeps of it."""
        return pb.FunctionHandleMetadata(
            function_name=self.definition.function_name,
            function_type=self.definition.function_type,
            definition_id=f"de-{self.id}",
            app_id=self.app_id,
            supported_input_formats=self.definition.supported_input_formats,
            supported_output_formats=self.definition.supported_output_formats,
            web_url=self.address,
        )


class Functions:
    """All functions of the workspace."""

    def __init__(self, settings: HostSettings, apps: Apps) -> None:
        self._settings = settings
        self._apps = apps
        self._functions: dict[str, Function] = {}

    def function(self, function_id: str) -> Function:
        """Return a function.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return found(self._functions, function_id, "Function")

    def everyone(self) -> list[Function]:
        """Return all functions, the oldest first."""
        return list(self._functions.values())

    def layout(self, app_id: str) -> pb.AppLayout:
        """Return an app's functions as a container wants to know them."""
        ids = self._apps.app(app_id).functions
        objects = [pb.Object(object_id=i, function_handle_metadata=self.function(i).handle()) for i in ids.values()]
        return pb.AppLayout(function_ids=ids, objects=objects)

    async def FunctionPrecreate(self, request: pb.FunctionPrecreateRequest) -> pb.FunctionPrecreateResponse:
        self._open_app(request.app_id)
        handle = pb.FunctionHandleMetadata(
            function_name=request.function_name, function_type=request.function_type, app_id=request.app_id
        )
        return pb.FunctionPrecreateResponse(
            function_id=request.existing_function_id or self._settings.ids.new("fu"), handle_metadata=handle
        )

    async def FunctionCreate(self, request: pb.FunctionCreateRequest) -> pb.FunctionCreateResponse:
        self._open_app(request.app_id)
        data = pb.FunctionData()
        data.CopyFrom(request.function_data)
        if not data.ranked_functions:
            # One wish for the hardware comes in another field than a list of them.
            one = request.function
            data.function_name, data.module_name, data.timeout_secs = (
                one.function_name,
                one.module_name,
                one.timeout_secs,
            )
            data.ranked_functions.append(pb.FunctionData.RankedFunction(rank=0, function=one))
        for ranked in data.ranked_functions:
            reason = why_refused(ranked.function)
            if reason is not None:
                raise refused(f"Function {ranked.function.function_name!r}: {reason}")
        function_id = request.existing_function_id or self._settings.ids.new("fu")
        is_web = data.webhook_config.type or data.ranked_functions[0].function.webhook_config.type
        address = f"{self._settings.http_url}/web/{function_id}" if is_web else ""
        data.web_url = address
        data.ranked_functions[0].function.web_url = address
        function = Function(function_id, request.app_id, data, address)
        self._functions[function.id] = function
        return pb.FunctionCreateResponse(
            function_id=function.id, function=function.definition, function_data=data, handle_metadata=function.handle()
        )

    def _open_app(self, app_id: str) -> App:
        app = self._apps.app(app_id)
        if app.is_stopped:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {app_id} is stopped")
        return app

    async def FunctionGet(self, request: pb.FunctionGetRequest) -> pb.FunctionGetResponse:
        app = self._apps.deployed(request.app_name)
        if app is None or request.object_tag not in app.functions:
            raise GRPCError(Status.NOT_FOUND, f"Function {request.app_name}/{request.object_tag} not found")
        function = self.function(app.functions[request.object_tag])
        return pb.FunctionGetResponse(
            function_id=function.id, function=function.data, handle_metadata=function.handle()
        )

    async def FunctionGetById(self, request: pb.FunctionGetByIdRequest) -> pb.FunctionGetByIdResponse:
        function = self.function(request.function_id)
        return pb.FunctionGetByIdResponse(function=function.data, handle_metadata=function.handle())

    async def AppGetLayout(self, request: pb.AppGetLayoutRequest) -> pb.AppGetLayoutResponse:
        return pb.AppGetLayoutResponse(app_layout=self.layout(request.app_id))
