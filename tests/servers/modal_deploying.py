"""What `modal deploy` asks of Modal: every part of an app gets an id, and can be looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import empty_pb2
from modal_proto import api_pb2

APP_ID, IMAGE_BUILDER = "ap-deployed", "2025.06"
BUILT = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


@dataclass
class Deployments:
    """Parts by id, as the client described them."""

    images: dict[str, Any] = field(default_factory=dict[str, Any])
    mounts: dict[str, Any] = field(default_factory=dict[str, Any])
    secrets: dict[str, Any] = field(default_factory=dict[str, Any])
    functions: dict[str, Any] = field(default_factory=dict[str, Any])
    published: list[Any] = field(default_factory=list[Any])

    def rpcs(self) -> Mapping[str, Callable[[Any], Any]]:
        return {
            "AppGetByDeploymentName": lambda request: api_pb2.AppGetByDeploymentNameResponse(),
            "AppCreate": lambda request: api_pb2.AppCreateResponse(app_id=APP_ID),
            "AppClientDisconnect": lambda request: empty_pb2.Empty(),
            "AppHeartbeat": lambda request: empty_pb2.Empty(),
            "AppPublish": self._publish,
            "EnvironmentGetOrCreate": self._environment,
            "FunctionCreate": self._function,
            "FunctionPrecreate": lambda request: api_pb2.FunctionPrecreateResponse(
                function_id=f"fu-{request.function_name}", handle_metadata=_handle(request.function_name)
            ),
            "ImageGetOrCreate": self._image,
            "MountBatchedCheckExistence": lambda request: api_pb2.MountBatchedCheckExistenceResponse(),
            "MountGetOrCreate": self._mount,
            "SecretGetOrCreate": self._secret,
        }

    def _environment(self, request: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    def _image(self, request: Any) -> Any:
        known = {str(image): image_id for image_id, image in self.images.items()}
        image_id = known.get(str(request.image), f"im-{len(self.images)}")
        self.images[image_id] = request.image
        metadata = api_pb2.ImageMetadata(image_builder_version=IMAGE_BUILDER)
        return api_pb2.ImageGetOrCreateResponse(image_id=image_id, result=BUILT, metadata=metadata)

    def _mount(self, request: Any) -> Any:
        mount_id = f"mo-{len(self.mounts)}"
        self.mounts[mount_id] = request
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id)

    def _secret(self, request: Any) -> Any:
        secret_id = f"st-{request.deployment_name or len(self.secrets)}"
        self.secrets[secret_id] = request
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)

    def _function(self, request: Any) -> Any:
        name = request.function.function_name
        self.functions[name] = request.function
        return api_pb2.FunctionCreateResponse(
            function_id=f"fu-{name}",
            function=request.function,
            function_data=function_data(request.function),
            handle_metadata=_handle(name),
        )

    def _publish(self, request: Any) -> Any:
        self.published.append(request)
        return api_pb2.AppPublishResponse(url="https://modal.example/app")


def function_data(function: Any) -> Any:
    """A function as Modal describes it to who looks it up."""
    ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=function)
    return api_pb2.FunctionData(function_name=function.function_name, ranked_functions=[ranked])


def _handle(name: str) -> Any:
    return api_pb2.FunctionHandleMetadata(
        function_name=name, function_type=api_pb2.Function.FUNCTION_TYPE_FUNCTION, app_id=APP_ID
    )
