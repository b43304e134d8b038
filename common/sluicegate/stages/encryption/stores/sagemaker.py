"""SageMaker: jobs, models, endpoints, notebooks.

SageMaker encrypts volumes and outputs even where no key is named: with keys of AWS. So the
question here is whose key, not whether; and what training containers say to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sluicegate.stages.encryption.aws import Unknown
from sluicegate.stages.encryption.question import Permission
from sluicegate.stages.encryption.stores.base import (
    Asks,
    Judgement,
    Keys,
    Reply,
    Store,
    StoreType,
    must,
    wrong,
)

__all__ = ["TYPES"]


def _describe(call: str, action: str, argument: str) -> Callable[[Store], Reply | Unknown]:
    def describe(store: Store) -> Reply | Unknown:
        arguments: dict[str, Any] = {argument: store.name}
        return store.call(call, action, **arguments)

    return describe


def _training_nodes(reply: Reply) -> int:
    """Return how many instances a training job has; 0 if that is not said."""
    resources = reply.get("ResourceConfig") or {}
    groups = resources.get("InstanceGroups") or ()
    counts = [resources.get("InstanceCount"), resources.get("SelectedInstanceCount")]
    together = sum(int(group.get("InstanceCount") or 0) for group in groups)
    return max(together, *(int(count or 0) for count in counts))


def _training_inter_node(_: Store, reply: Reply) -> Judgement:
    return _inter_node(
        _training_nodes(reply), reply.get("EnableInterContainerTrafficEncryption", False)
    )


def _processing_inter_node(_: Store, reply: Reply) -> Judgement:
    cluster = (reply.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    counts = (cluster.get("InstanceCount"), cluster.get("SelectedInstanceCount"))
    network = reply.get("NetworkConfig") or {}
    return _inter_node(
        max(int(count or 0) for count in counts),
        network.get("EnableInterContainerTrafficEncryption", False),
    )


def _inter_node(nodes: int, encrypted: object) -> Judgement:
    if nodes == 1:  # nobody to talk to
        return ()
    return must(
        encrypted, "expected encrypted traffic between containers, found plain", instances=nodes
    )


def _isolated(_: Store, reply: Reply) -> Judgement:
    return _isolation(reply.get("EnableNetworkIsolation", False))


def _processing_isolated(_: Store, reply: Reply) -> Judgement:
    return _isolation((reply.get("NetworkConfig") or {}).get("EnableNetworkIsolation", False))


def _isolation(value: object) -> Judgement:
    return must(value, "expected network isolation, found containers that may call out")


def _notebook_public(_: Store, reply: Reply) -> Judgement:
    access = reply.get("DirectInternetAccess")
    if access is None:
        return Unknown("the answer holds no DirectInternetAccess")
    if access == "Disabled":
        return ()
    return wrong(f"expected direct internet access Disabled, found {access}", access=str(access))


def _training_keys(reply: Reply) -> Keys:
    return (
        ("output", (reply.get("OutputDataConfig") or {}).get("KmsKeyId")),
        ("volumes", (reply.get("ResourceConfig") or {}).get("VolumeKmsKeyId")),
    )


def _processing_keys(reply: Reply) -> Keys:
    cluster = (reply.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    outputs = reply.get("ProcessingOutputConfig") or {}
    volumes = ("volumes", cluster.get("VolumeKmsKeyId"))
    if not outputs.get("Outputs"):
        return (volumes,)
    return (("output", outputs.get("KmsKeyId")), volumes)


def _endpoint_keys(reply: Reply) -> Keys:
    capture = reply.get("DataCaptureConfig") or {}
    results = (reply.get("AsyncInferenceConfig") or {}).get("OutputConfig")
    keys: list[tuple[str, str | None]] = [("volumes", reply.get("KmsKeyId"))]
    if capture.get("EnableCapture"):
        keys.append(("captured data", capture.get("KmsKeyId")))
    if results is not None:
        keys.append(("asynchronous results", results.get("KmsKeyId")))
    return tuple(keys)


def _type(
    kind: str,
    action: str,
    call: str,
    argument: str,
    arn: str,
    judges: dict[Asks, Callable[[Store, Reply], Judgement]],
    keys: Callable[[Reply], Keys] | None,
) -> StoreType:
    on = f"sagemaker-{kind}"
    return StoreType(
        on=on,
        service="sagemaker",
        path=f"{kind}/",
        describe=_describe(f"sagemaker.{call}", action, argument),
        calls=(f"sagemaker.{call}",),
        permissions=(Permission(action, on),),
        arn_in=lambda reply: reply.get(arn),
        judges=judges,
        keys=keys,
    )


TYPES: Final = (
    _type(
        "training-job",
        "sagemaker:DescribeTrainingJob",
        "describe_training_job",
        "TrainingJobName",
        "TrainingJobArn",
        {Asks.INTER_NODE: _training_inter_node, Asks.ISOLATED: _isolated},
        _training_keys,
    ),
    _type(
        "processing-job",
        "sagemaker:DescribeProcessingJob",
        "describe_processing_job",
        "ProcessingJobName",
        "ProcessingJobArn",
        {Asks.INTER_NODE: _processing_inter_node, Asks.ISOLATED: _processing_isolated},
        _processing_keys,
    ),
    _type(
        "model",
        "sagemaker:DescribeModel",
        "describe_model",
        "ModelName",
        "ModelArn",
        {Asks.ISOLATED: _isolated},
        None,
    ),
    _type(
        "endpoint-config",
        "sagemaker:DescribeEndpointConfig",
        "describe_endpoint_config",
        "EndpointConfigName",
        "EndpointConfigArn",
        {},
        _endpoint_keys,
    ),
    _type(
        "notebook-instance",
        "sagemaker:DescribeNotebookInstance",
        "describe_notebook_instance",
        "NotebookInstanceName",
        "NotebookInstanceArn",
        {Asks.PUBLIC: _notebook_public},
        lambda reply: (("volume", reply.get("KmsKeyId")),),
    ),
)
"""Types of SageMaker."""
