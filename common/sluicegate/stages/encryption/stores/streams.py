"""Kinesis, SQS and MSK: what flows between the steps of a pipeline."""

from __future__ import annotations

from typing import Final

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
from sluicegate.stages.encryption.stores.exposed import judge_policy

__all__ = ["TYPES"]


def _stream(store: Store) -> Reply | Unknown:
    answer = store.call(
        "kinesis.describe_stream_summary", "kinesis:DescribeStreamSummary", StreamARN=store.arn.text
    )
    return answer if isinstance(answer, Unknown) else answer.get("StreamDescriptionSummary") or {}


def _stream_at_rest(_: Store, reply: Reply) -> Judgement:
    kind = str(reply.get("EncryptionType", "NONE"))
    return () if kind == "KMS" else wrong(f"expected encryption KMS, found {kind}", type=kind)


def _queue(store: Store) -> Reply | Unknown:
    located = store.call(
        "sqs.get_queue_url",
        "sqs:GetQueueUrl",
        QueueName=store.name,
        QueueOwnerAWSAccountId=store.arn.account,
    )
    if isinstance(located, Unknown):
        return located
    answer = store.call(
        "sqs.get_queue_attributes",
        "sqs:GetQueueAttributes",
        QueueUrl=located.get("QueueUrl", ""),
        AttributeNames=["QueueArn", "KmsMasterKeyId", "SqsManagedSseEnabled", "Policy"],
    )
    return answer if isinstance(answer, Unknown) else answer.get("Attributes") or {}


def _queue_at_rest(_: Store, reply: Reply) -> Judgement:
    if reply.get("KmsMasterKeyId") or str(reply.get("SqsManagedSseEnabled")).lower() == "true":
        return ()
    return wrong("expected encryption by SQS or with a KMS key, found none")


def _queue_public(store: Store, reply: Reply) -> Judgement:
    return judge_policy(store, reply.get("Policy"), ("sqs:*",))


def _kafka(store: Store) -> Reply | Unknown:
    answer = store.call(
        "kafka.describe_cluster_v2", "kafka:DescribeClusterV2", ClusterArn=store.arn.text
    )
    return answer if isinstance(answer, Unknown) else answer.get("ClusterInfo") or {}


_SERVERLESS: Final = Unknown("serverless clusters do not say; they are not examined")


def _kafka_tls(_: Store, reply: Reply) -> Judgement:
    if "Provisioned" not in reply:
        return _SERVERLESS
    kind = str(_in_transit(reply).get("ClientBroker"))
    if kind == "TLS":
        return ()
    return wrong(f"clients: expected TLS only, found {kind}", client_broker=kind)


def _kafka_inside(_: Store, reply: Reply) -> Judgement:
    if "Provisioned" not in reply:
        return _SERVERLESS
    return must(_in_transit(reply).get("InCluster"), "brokers: expected TLS, found plain traffic")


def _kafka_public(_: Store, reply: Reply) -> Judgement:
    if "Provisioned" not in reply:
        return _SERVERLESS
    group = reply["Provisioned"].get("BrokerNodeGroupInfo") or {}
    access = ((group.get("ConnectivityInfo") or {}).get("PublicAccess") or {}).get("Type")
    if access is None:
        return Unknown("the answer holds no PublicAccess")
    if access == "DISABLED":
        return ()
    return wrong(f"expected public access DISABLED, found {access}", access=str(access))


def _in_transit(reply: Reply) -> Reply:
    encryption = reply["Provisioned"].get("EncryptionInfo") or {}
    return encryption.get("EncryptionInTransit") or {}


def _kafka_keys(reply: Reply) -> Keys:
    encryption = (reply.get("Provisioned") or {}).get("EncryptionInfo") or {}
    return (("volumes", (encryption.get("EncryptionAtRest") or {}).get("DataVolumeKMSKeyId")),)


TYPES: Final = (
    StoreType(
        on="kinesis-stream",
        service="kinesis",
        path="stream/",
        describe=_stream,
        calls=("kinesis.describe_stream_summary",),
        permissions=(Permission("kinesis:DescribeStreamSummary", "kinesis-stream"),),
        arn_in=lambda reply: reply.get("StreamARN"),
        judges={Asks.AT_REST: _stream_at_rest},
        keys=lambda reply: (("stream", reply.get("KeyId")),),
    ),
    StoreType(
        on="sqs-queue",
        service="sqs",
        path="",
        describe=_queue,
        calls=("sqs.get_queue_url", "sqs.get_queue_attributes"),
        permissions=(
            Permission("sqs:GetQueueUrl", "sqs-queue"),
            Permission("sqs:GetQueueAttributes", "sqs-queue"),
        ),
        arn_in=lambda reply: reply.get("QueueArn"),
        judges={Asks.AT_REST: _queue_at_rest, Asks.PUBLIC: _queue_public},
        keys=lambda reply: (("queue", reply.get("KmsMasterKeyId")),),
    ),
    StoreType(
        on="kafka-cluster",
        service="kafka",
        path="cluster/",
        describe=_kafka,
        calls=("kafka.describe_cluster_v2",),
        permissions=(Permission("kafka:DescribeClusterV2", "kafka-cluster"),),
        arn_in=lambda reply: reply.get("ClusterArn"),
        judges={
            Asks.TLS: _kafka_tls,
            Asks.INTER_NODE: _kafka_inside,
            Asks.PUBLIC: _kafka_public,
        },
        keys=_kafka_keys,
    ),
)
"""Queues and streams."""
