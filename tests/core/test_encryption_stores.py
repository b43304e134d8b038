"""Stores at AWS: described by a simulated AWS, by recorded answers where that one lies, and by
servers that refuse. Recorded answers are checked against the API model of botocore."""

from __future__ import annotations

import json
import threading
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from sluicegate.errors import ConfigurationError
from sluicegate.model import Outcome
from sluicegate.stages.base import Context
from sluicegate.stages.encryption.aws import Aws
from sluicegate.stages.encryption.scope import Scope
from sluicegate.stages.encryption.settings import Settings
from sluicegate.stages.encryption.stores import AREA, examine, resources
from sluicegate.stages.encryption.stores.catalog import TYPES
from sluicegate.storage.snapshot import take_snapshot
from sluicegate.storage.uri import SubjectUri
from tests.aws import point_at

REGION, ACCOUNT = "eu-west-1", "123456789012"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/99999999-12ab-34cd-56ef-1234567890ab"
PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
ROLE = f"arn:aws:iam::{ACCOUNT}:role/role"


def arn(service, rest):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


ARNS = {
    "rds-db": arn("rds", "db:features"),
    "rds-cluster": arn("rds", "cluster:features"),
    "redshift-cluster": arn("redshift", "cluster:features"),
    "dynamodb-table": arn("dynamodb", "table/features"),
    "elasticache-group": arn("elasticache", "replicationgroup:features"),
    "opensearch-domain": arn("es", "domain/features"),
    "glue-catalog": arn("glue", "catalog"),
    "glue-security-configuration": arn("glue", "security-configuration/strict"),
    "glue-job": arn("glue", "job/features"),
    "glue-connection": arn("glue", "connection/features"),
    "athena-workgroup": arn("athena", "workgroup/features"),
    "kinesis-stream": arn("kinesis", "stream/features"),
    "sqs-queue": arn("sqs", "features"),
    "kafka-cluster": arn("kafka", "cluster/features/1234abcd-12ab-34cd-56ef-1234567890ab-1"),
    "ebs-volume": arn("ec2", "volume/vol-0123456789abcdef0"),
    "efs-file-system": arn("elasticfilesystem", "file-system/fs-0123456789abcdef0"),
    "ecr-repository": arn("ecr", "repository/team/features"),
    "secret": arn("secretsmanager", "secret:team/features-AbCdEf"),
    "sagemaker-training-job": arn("sagemaker", "training-job/features"),
    "sagemaker-processing-job": arn("sagemaker", "processing-job/features"),
    "sagemaker-model": arn("sagemaker", "model/features"),
    "sagemaker-endpoint-config": arn("sagemaker", "endpoint-config/features"),
    "sagemaker-notebook-instance": arn("sagemaker", "notebook-instance/features"),
}


def configure(monkeypatch, tmp_path, endpoint):
    point_at(endpoint, monkeypatch, tmp_path)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture
def subject(tmp_path):
    """Return a local subject: nothing to ask about by itself."""
    (tmp_path / "subject").mkdir()
    (tmp_path / "subject" / "a.csv").write_bytes(b"a\n1\n")
    return take_snapshot(SubjectUri.parse(tmp_path / "subject"))


@pytest.fixture
def scope(subject, request):
    """Return a maker of scopes over the subject; they ask the simulated AWS if it runs."""
    running = request.getfixturevalue("moto")[1] if "aws" in request.fixturenames else None

    def make(*names, aws=None, **settings):
        return Scope(
            settings=Settings(resources=names, **settings),
            snapshot=subject,
            context=Context(),
            aws=aws or running,
            now=datetime(2026, 11, 1, tzinfo=UTC),
        )

    return make


def outcomes(made):
    return {check.id.removeprefix("encryption.store_"): check.outcome for check in examine(made)}


def checks(made):
    return {check.id.removeprefix("encryption.store_"): check for check in examine(made)}


# ---------------------------------------------------------------- simulated AWS


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    """Run a simulated AWS for all tests of this file; return its URL and clients of it."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        configure(patch, tmp_path_factory.mktemp("no"), f"http://{host}:{port}")
        yield f"http://{host}:{port}", Aws(attempts=1, seconds=10.0)
    running.stop()
    boto3.DEFAULT_SESSION = None


@pytest.fixture
def aws(moto):
    """Empty the simulated AWS; return a maker of clients."""
    url, clients = moto
    reset = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=10).close()
    return lambda service: clients.client(service, REGION)


@pytest.fixture
def key(aws):
    """Return the ARN of a key that the customer manages."""
    return aws("kms").create_key()["KeyMetadata"]["Arn"]


def make_db(aws, name="features", **options):
    engine = options.pop("Engine", "postgres")
    aws("rds").create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.m5.large",
        Engine=engine,
        MasterUsername="admin1",
        MasterUserPassword="hunter2-hunter2",
        AllocatedStorage=20,
        **options,
    )
    return arn("rds", f"db:{name}")


@pytest.mark.parametrize(("encrypted", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_database_is_encrypted_or_not(aws, key, scope, encrypted, expected):
    options = {"StorageEncrypted": True, "KmsKeyId": key} if encrypted else {}
    name = make_db(aws, **options)
    found = outcomes(scope(name))
    assert found["at_rest"] is expected
    assert found["key_manager"] is expected
    assert found["public"] is UNKNOWN  # moto drops the setting: nothing is said, so no pass


@pytest.mark.parametrize(("value", "expected"), [("1", PASSED), ("0", FAILED), (None, FAILED)])
def test_a_database_refuses_plain_connections_by_its_parameter_group(aws, scope, value, expected):
    aws("rds").create_db_parameter_group(
        DBParameterGroupName="strict", DBParameterGroupFamily="postgres16", Description="x"
    )
    if value is not None:
        aws("rds").modify_db_parameter_group(
            DBParameterGroupName="strict",
            Parameters=[
                {
                    "ParameterName": "rds.force_ssl",
                    "ParameterValue": value,
                    "ApplyMethod": "immediate",
                }
            ],
        )
    name = make_db(aws, DBParameterGroupName="strict")
    assert outcomes(scope(name))["tls"] is expected


@pytest.mark.parametrize(("encrypted", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_cluster_of_databases_is_encrypted_or_not(aws, key, scope, encrypted, expected):
    options = {"StorageEncrypted": True, "KmsKeyId": key} if encrypted else {}
    aws("rds").create_db_cluster(
        DBClusterIdentifier="features",
        Engine="aurora-postgresql",
        MasterUsername="admin1",
        MasterUserPassword="hunter2-hunter2",
        **options,
    )
    found = outcomes(scope(ARNS["rds-cluster"]))
    assert found["at_rest"] is expected
    assert found["key_manager"] is expected


def make_redshift(aws, **options):
    aws("redshift").create_cluster(
        ClusterIdentifier="features",
        NodeType="ra3.large",
        MasterUsername="admin1",
        MasterUserPassword="Hunter2-hunter2",
        **options,
    )
    return ARNS["redshift-cluster"]


def test_a_sound_warehouse(aws, key, scope):
    aws("redshift").create_cluster_parameter_group(
        ParameterGroupName="strict", ParameterGroupFamily="redshift-1.0", Description="x"
    )
    name = make_redshift(
        aws,
        Encrypted=True,
        KmsKeyId=key,
        PubliclyAccessible=False,
        ClusterParameterGroupName="strict",
    )
    found = outcomes(scope(name))
    assert found["at_rest"] is PASSED
    assert found["key_manager"] is PASSED
    assert found["public"] is PASSED
    assert found["tls"] is FAILED  # moto keeps no parameters: not set


def test_a_warehouse_that_is_plain_and_public(aws, scope):
    found = outcomes(scope(make_redshift(aws, Encrypted=False, PubliclyAccessible=True)))
    assert (found["at_rest"], found["public"]) == (FAILED, FAILED)


def make_table(aws, **options):
    aws("dynamodb").create_table(
        TableName="features",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )
    return ARNS["dynamodb-table"]


def test_a_table_under_a_key_of_the_customers(aws, key, scope):
    name = make_table(
        aws, SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    )
    assert outcomes(scope(name)) == {"at_rest": PASSED, "key_manager": PASSED}
    assert outcomes(scope(name, kms_keys=(key,))) == {"at_rest": PASSED, "key": PASSED}
    assert outcomes(scope(name, kms_keys=(OTHER_KEY,))) == {"at_rest": PASSED, "key": FAILED}


def test_a_table_under_the_key_that_aws_owns_is_encrypted_but_not_with_an_allowed_key(aws, scope):
    name = make_table(aws)
    assert outcomes(scope(name)) == {"at_rest": PASSED, "key_manager": FAILED}
    assert outcomes(scope(name, kms_keys=(KEY,))) == {"at_rest": PASSED, "key": FAILED}


@pytest.mark.parametrize(("encrypted", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_cache_is_encrypted_or_not(aws, scope, encrypted, expected):
    aws("elasticache").create_replication_group(
        ReplicationGroupId="features",
        ReplicationGroupDescription="x",
        AtRestEncryptionEnabled=encrypted,
        TransitEncryptionEnabled=encrypted,
        Engine="redis",
    )
    found = outcomes(scope(ARNS["elasticache-group"]))
    assert found["at_rest"] is expected
    assert found["tls"] is (UNKNOWN if encrypted else FAILED)  # moto leaves the mode out


def domain_options(sound, key):
    return {
        "EncryptionAtRestOptions": {"Enabled": sound, **({"KmsKeyId": key} if sound else {})},
        "NodeToNodeEncryptionOptions": {"Enabled": sound},
        "DomainEndpointOptions": {
            "EnforceHTTPS": sound,
            "TLSSecurityPolicy": "Policy-Min-TLS-1-2-2019-07",
        },
        "AccessPolicies": json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "Principal": {"AWS": ROLE if sound else "*"},
                    "Action": "es:ESHttp*",
                    "Resource": f"{ARNS['opensearch-domain']}/*",
                },
            }
        ),
    }


@pytest.mark.parametrize(("sound", "expected"), [(True, PASSED), (False, FAILED)])
def test_an_index_is_sound_or_not(aws, key, scope, sound, expected):
    aws("opensearch").create_domain(DomainName="features", **domain_options(sound, key))
    assert outcomes(scope(ARNS["opensearch-domain"])) == dict.fromkeys(
        ("at_rest", "tls", "inter_node", "public", "key_manager"), expected
    )


@pytest.mark.parametrize(("sound", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_catalogue_is_encrypted_or_not(aws, key, scope, sound, expected):
    if sound:
        aws("glue").put_data_catalog_encryption_settings(
            DataCatalogEncryptionSettings={
                "EncryptionAtRest": {"CatalogEncryptionMode": "SSE-KMS", "SseAwsKmsKeyId": key},
                "ConnectionPasswordEncryption": {
                    "ReturnConnectionPasswordEncrypted": True,
                    "AwsKmsKeyId": key,
                },
            }
        )
    found = outcomes(scope(ARNS["glue-catalog"]))
    assert found["at_rest"] is expected
    assert found["key_manager"] is expected


def make_security(aws, key, mode):
    aws("glue").create_security_configuration(
        Name="strict",
        EncryptionConfiguration={
            "S3Encryption": [{"S3EncryptionMode": mode, "KmsKeyArn": key}],
            "CloudWatchEncryption": {"CloudWatchEncryptionMode": "SSE-KMS", "KmsKeyArn": key},
            "JobBookmarksEncryption": {"JobBookmarksEncryptionMode": "CSE-KMS", "KmsKeyArn": key},
        },
    )


@pytest.mark.parametrize(("mode", "expected"), [("SSE-KMS", PASSED), ("DISABLED", FAILED)])
def test_a_security_configuration_and_a_job_that_runs_under_it(aws, key, scope, mode, expected):
    make_security(aws, key, mode)
    command = {"Name": "glueetl", "ScriptLocation": "s3://scripts/x.py"}
    aws("glue").create_job(
        Name="features", Role=ROLE, Command=command, SecurityConfiguration="strict"
    )
    assert outcomes(scope(ARNS["glue-security-configuration"]))["at_rest"] is expected
    assert outcomes(scope(ARNS["glue-job"]))["at_rest"] is expected
    assert outcomes(scope(ARNS["glue-job"]))["key_manager"] is PASSED


def test_a_job_without_security_configuration(aws, scope):
    command = {"Name": "glueetl", "ScriptLocation": "s3://scripts/x.py"}
    aws("glue").create_job(Name="features", Role=ROLE, Command=command)
    assert outcomes(scope(ARNS["glue-job"])) == {"at_rest": FAILED, "key_manager": FAILED}


def workgroup(aws, option=None, *, enforced=True, key=None):
    encryption = {"EncryptionOption": option, **({"KmsKey": key} if key else {})}
    results = {"OutputLocation": "s3://results/"}
    if option:
        results["EncryptionConfiguration"] = encryption
    aws("athena").create_work_group(
        Name="features",
        Configuration={
            "ResultConfiguration": results,
            "EnforceWorkGroupConfiguration": enforced,
        },
    )
    return ARNS["athena-workgroup"]


@pytest.mark.parametrize(
    ("option", "enforced", "expected"),
    [("SSE_S3", True, PASSED), ("SSE_S3", False, FAILED), (None, True, FAILED)],
)
def test_query_results_are_encrypted_if_no_client_may_override_it(
    aws, scope, option, enforced, expected
):
    name = workgroup(aws, option, enforced=enforced)
    assert outcomes(scope(name))["at_rest"] is expected


def test_query_results_under_a_key(aws, key, scope):
    name = workgroup(aws, "SSE_KMS", key=key)
    assert outcomes(scope(name, kms_keys=(key,))) == {"at_rest": PASSED, "key": PASSED}


@pytest.mark.parametrize(("encrypted", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_stream_is_encrypted_or_not(aws, key, scope, encrypted, expected):
    aws("kinesis").create_stream(StreamName="features", ShardCount=1)
    if encrypted:
        aws("kinesis").start_stream_encryption(
            StreamName="features", EncryptionType="KMS", KeyId=key
        )
    assert outcomes(scope(ARNS["kinesis-stream"])) == {"at_rest": expected, "key_manager": expected}


def queue_policy(principal, effect="Allow"):
    statement = {
        "Effect": effect,
        "Principal": principal,
        "Action": "sqs:SendMessage",
        "Resource": ARNS["sqs-queue"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"SqsManagedSseEnabled": "true"}, {"at_rest": PASSED}),
        ({"KmsMasterKeyId": "alias/aws/sqs"}, {"at_rest": PASSED, "key_manager": FAILED}),
        ({"SqsManagedSseEnabled": "false"}, {"at_rest": FAILED, "key_manager": FAILED}),
        ({"Policy": queue_policy({"AWS": ROLE})}, {"public": PASSED}),
        ({"Policy": queue_policy("*", "Deny")}, {"public": PASSED}),
        ({"Policy": queue_policy("*")}, {"public": FAILED}),
        ({}, {"public": PASSED}),
    ],
)
def test_a_queue(aws, scope, attributes, expected):
    aws("sqs").create_queue(QueueName="features", Attributes=attributes)
    found = outcomes(scope(ARNS["sqs-queue"]))
    assert {name: found[name] for name in expected} == expected


def make_volume(aws, **options):
    made = aws("ec2").create_volume(AvailabilityZone=f"{REGION}a", Size=1, **options)
    return arn("ec2", f"volume/{made['VolumeId']}")


def test_a_volume_is_encrypted_or_not(aws, key, scope):
    good, bad = make_volume(aws, Encrypted=True, KmsKeyId=key), make_volume(aws)
    assert outcomes(scope(good, kms_keys=(key,))) == {"at_rest": PASSED, "key": PASSED}
    assert outcomes(scope(bad)) == {"at_rest": FAILED, "key_manager": FAILED}


@pytest.mark.parametrize(("encrypted", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_file_system_is_encrypted_or_not(aws, key, scope, encrypted, expected):
    options = {"Encrypted": True, "KmsKeyId": key} if encrypted else {}
    made = aws("efs").create_file_system(CreationToken="x", **options)
    name = arn("elasticfilesystem", f"file-system/{made['FileSystemId']}")
    assert outcomes(scope(name)) == {"at_rest": expected, "key_manager": expected}


def repository_policy(principal):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "ecr:BatchGetImage"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(
    ("principal", "public"), [(None, PASSED), ({"AWS": ROLE}, PASSED), ("*", FAILED)]
)
def test_a_repository_of_images(aws, key, scope, principal, public):
    aws("ecr").create_repository(
        repositoryName="team/features",
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key},
    )
    if principal is not None:
        aws("ecr").set_repository_policy(
            repositoryName="team/features", policyText=repository_policy(principal)
        )
    assert outcomes(scope(ARNS["ecr-repository"])) == {
        "at_rest": PASSED,
        "key_manager": PASSED,
        "public": public,
    }


@pytest.mark.parametrize(("principal", "public"), [(None, PASSED), ("*", FAILED)])
def test_a_secret_named_with_and_without_its_suffix(aws, key, scope, principal, public):
    made = aws("secretsmanager").create_secret(
        Name="team/features", SecretString="hunter2", KmsKeyId=key
    )
    if principal is not None:
        statement = {
            "Effect": "Allow",
            "Principal": principal,
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "*",
        }
        aws("secretsmanager").put_resource_policy(
            SecretId=made["ARN"],
            ResourcePolicy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
    for name in (made["ARN"], made["ARN"][:-7]):
        found = outcomes(scope(name, kms_keys=(key,)))
        assert found == {"at_rest": PASSED, "key": PASSED, "public": public}


def training(aws, *, sound, key, count=2):
    aws("sagemaker").create_training_job(
        TrainingJobName="features",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": "x", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://models/", **({"KmsKeyId": key} if sound else {})},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": count,
            "VolumeSizeInGB": 1,
            **({"VolumeKmsKeyId": key} if sound else {}),
        },
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        EnableNetworkIsolation=sound,
        EnableInterContainerTrafficEncryption=sound,
        HyperParameters={"token": "hunter2"},
    )
    return ARNS["sagemaker-training-job"]


@pytest.mark.parametrize(("sound", "expected"), [(True, PASSED), (False, FAILED)])
def test_a_training_job(aws, key, scope, sound, expected):
    made = scope(training(aws, sound=sound, key=key))
    assert outcomes(made) == dict.fromkeys(("inter_node", "isolated", "key_manager"), expected)
    assert "hunter2" not in json.dumps([check.to_json() for check in examine(made)])
    assert "hunter2" not in repr(made)


def test_a_training_job_on_one_instance_has_no_traffic_between_nodes(aws, key, scope):
    found = outcomes(scope(training(aws, sound=False, key=key, count=1)))
    assert found["inter_node"] is PASSED


@pytest.mark.parametrize(("sound", "expected"), [(True, PASSED), (False, FAILED)])
def test_an_endpoint_and_a_notebook(aws, key, scope, sound, expected):
    client, keyed = aws("sagemaker"), ({"KmsKeyId": key} if sound else {})
    container = {"Image": "x"}
    client.create_model(ModelName="features", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {
        "VariantName": "a",
        "ModelName": "features",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    client.create_endpoint_config(
        EndpointConfigName="features", ProductionVariants=[variant], **keyed
    )
    client.create_notebook_instance(
        NotebookInstanceName="features",
        InstanceType="ml.t3.medium",
        RoleArn=ROLE,
        SubnetId="subnet-1",
        DirectInternetAccess="Disabled" if sound else "Enabled",
        **keyed,
    )
    assert outcomes(scope(ARNS["sagemaker-endpoint-config"])) == {"key_manager": expected}
    notebook = outcomes(scope(ARNS["sagemaker-notebook-instance"]))
    assert notebook == {"public": expected, "key_manager": expected}


# ---------------------------------------------------------------- recorded answers


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Return AWS clients that reach nobody."""
    with pytest.MonkeyPatch.context() as patch:
        configure(patch, tmp_path_factory.mktemp("no"), "http://127.0.0.1:9")
        yield Aws(attempts=1, seconds=1.0)


@pytest.fixture
def recorded(offline):
    """Return a maker of AWS clients that give recorded answers, in this order."""
    stubs = {}

    def make(*answers, region=REGION):
        while stubs:
            stubs.popitem()[1].deactivate()
        for call, answer in answers:
            service, _, name = call.partition(".")
            if service not in stubs:
                stubs[service] = Stubber(offline.client(service, region))
                stubs[service].activate()
            if isinstance(answer, tuple):
                code, status = answer
                stubs[service].add_client_error(
                    name, service_error_code=code, http_status_code=status
                )
            else:
                stubs[service].add_response(name, answer)
        return offline

    yield make
    while stubs:
        stubs.popitem()[1].deactivate()


def db(**members):
    described = {
        "DBInstanceArn": ARNS["rds-db"],
        "Engine": "postgres",
        "StorageEncrypted": True,
        "KmsKeyId": KEY,
        "PubliclyAccessible": False,
        "DBParameterGroups": [
            {"DBParameterGroupName": "strict", "ParameterApplyStatus": "in-sync"}
        ],
        **members,
    }
    return "rds.describe_db_instances", {"DBInstances": [described]}


def db_cluster(**members):
    described = {
        "DBClusterArn": ARNS["rds-cluster"],
        "Engine": "aurora-postgresql",
        "StorageEncrypted": True,
        "DBClusterParameterGroup": "strict",
        **members,
    }
    return "rds.describe_db_clusters", {"DBClusters": [described]}


def parameters(value, name="rds.force_ssl", call="rds.describe_db_parameters", **more):
    parameter = {"ParameterName": name, **({} if value is None else {"ParameterValue": value})}
    return call, {"Parameters": [{"ParameterName": "other"}, parameter], **more}


def one(recorded, scope, name, asks, *answers, **settings):
    """Return the check of one question, from recorded answers."""
    made = scope(name, aws=recorded(*answers), checks=(f"encryption.store_{asks}",), **settings)
    (check,) = examine(made)
    return check


@pytest.mark.parametrize(("public", "expected"), [(False, PASSED), (True, FAILED)])
def test_a_database_with_a_public_address(recorded, scope, public, expected):
    described = db(PubliclyAccessible=public)
    assert one(recorded, scope, ARNS["rds-db"], "public", described).outcome is expected


def test_a_reason_names_the_call(recorded, scope):
    for answers in ([db(Engine="oracle-ee")], [db(DBParameterGroups=[])]):
        check = one(recorded, scope, ARNS["rds-db"], "tls", *answers)
        assert check.reason.startswith("rds.describe_db_instances: ")
        assert check.reason.count("describe_db_instances") == 1


@pytest.mark.parametrize(
    ("engine", "name", "value", "status", "expected"),
    [
        ("postgres", "rds.force_ssl", "1", "in-sync", PASSED),
        ("postgres", "rds.force_ssl", "0", "in-sync", FAILED),
        ("postgres", "rds.force_ssl", None, "in-sync", FAILED),
        ("postgres", "require_secure_transport", "1", "in-sync", FAILED),
        ("postgres", "rds.force_ssl", "1", "pending-reboot", UNKNOWN),
        ("postgres", "rds.force_ssl", "0", "pending-reboot", FAILED),
        ("mysql", "require_secure_transport", "ON", "in-sync", PASSED),
        ("mariadb", "require_secure_transport", "OFF", "in-sync", FAILED),
        ("sqlserver-se", "rds.force_ssl", "1", "in-sync", PASSED),
        ("oracle-ee", "rds.force_ssl", "1", "in-sync", UNKNOWN),
    ],
)
def test_parameters_of_engines(recorded, scope, engine, name, value, status, expected):
    group = {"DBParameterGroupName": "strict", "ParameterApplyStatus": status}
    answers = [db(Engine=engine, DBParameterGroups=[group]), parameters(value, name)]
    assert one(recorded, scope, ARNS["rds-db"], "tls", *answers).outcome is expected


def test_a_parameter_on_the_second_page_is_found_and_endless_pages_end(recorded, scope):
    page = ("rds.describe_db_parameters", {"Parameters": [], "Marker": "next"})
    check = one(recorded, scope, ARNS["rds-db"], "tls", db(), page, parameters("1"))
    assert check.outcome is PASSED
    pages = [(page[0], {"Parameters": [], "Marker": str(count)}) for count in range(30)]
    check = one(recorded, scope, ARNS["rds-db"], "tls", db(), *pages)
    assert check.outcome is UNKNOWN
    assert "pages" in check.reason


CLUSTER_PARAMETERS = "rds.describe_db_cluster_parameters"


@pytest.mark.parametrize(("value", "expected"), [("1", PASSED), ("0", FAILED)])
def test_an_instance_of_a_cluster_has_the_parameters_of_the_cluster(
    recorded, scope, value, expected
):
    answers = [
        db(Engine="aurora-postgresql", DBClusterIdentifier="features"),
        db_cluster(),
        parameters(value, call=CLUSTER_PARAMETERS),
    ]
    assert one(recorded, scope, ARNS["rds-db"], "tls", *answers).outcome is expected


@pytest.mark.parametrize(("status", "expected"), [("in-sync", PASSED), ("applying", UNKNOWN)])
def test_a_cluster_is_judged_by_its_own_parameter_group(recorded, scope, status, expected):
    members = [{"DBInstanceIdentifier": "a", "DBClusterParameterGroupStatus": status}]
    answers = [db_cluster(DBClusterMembers=members), parameters("1", call=CLUSTER_PARAMETERS)]
    assert one(recorded, scope, ARNS["rds-cluster"], "tls", *answers).outcome is expected


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [([False, False], PASSED), ([False, True], FAILED), ([], UNKNOWN), ([False, None], UNKNOWN)],
)
def test_a_cluster_is_public_if_one_of_its_instances_is(recorded, scope, addresses, expected):
    instances = [{} if one is None else {"PubliclyAccessible": one} for one in addresses]
    answers = [db_cluster(), ("rds.describe_db_instances", {"DBInstances": instances})]
    assert one(recorded, scope, ARNS["rds-cluster"], "public", *answers).outcome is expected


@pytest.mark.parametrize(
    ("public", "expected"), [({"PubliclyAccessible": True}, FAILED), ({}, UNKNOWN)]
)
def test_a_multi_az_cluster_has_an_address_of_its_own(recorded, scope, public, expected):
    answers = [db_cluster(**public), ("rds.describe_db_instances", {"DBInstances": []})]
    assert one(recorded, scope, ARNS["rds-cluster"], "public", *answers).outcome is expected


@pytest.mark.parametrize(
    ("value", "state", "expected"),
    [
        ("true", "in-sync", PASSED),
        ("true", "pending-reboot", FAILED),
        ("false", "in-sync", FAILED),
        (None, "in-sync", FAILED),
    ],
)
def test_a_warehouse_refuses_plain_connections_once_rebooted(
    recorded, scope, value, state, expected
):
    group = {
        "ParameterGroupName": "strict",
        "ClusterParameterStatusList": [
            {"ParameterName": "require_ssl", "ParameterApplyStatus": state}
        ],
    }
    described = {
        "ClusterNamespaceArn": arn("redshift", "namespace:1234"),
        "ClusterParameterGroups": [group],
    }
    answers = [
        ("redshift.describe_clusters", {"Clusters": [described]}),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
        parameters(value, "require_ssl", "redshift.describe_cluster_parameters"),
    ]
    assert one(recorded, scope, ARNS["redshift-cluster"], "tls", *answers).outcome is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"TransitEncryptionEnabled": True, "TransitEncryptionMode": "required"}, PASSED),
        ({"TransitEncryptionEnabled": True, "TransitEncryptionMode": "preferred"}, FAILED),
        ({"TransitEncryptionEnabled": True, "TransitEncryptionMode": "of-2030"}, FAILED),
        ({"TransitEncryptionEnabled": True}, UNKNOWN),
        ({"TransitEncryptionEnabled": False}, FAILED),
        ({}, UNKNOWN),
    ],
)
def test_a_cache_that_prefers_tls_accepts_plain_connections(recorded, scope, members, expected):
    described = {"ARN": ARNS["elasticache-group"], **members}
    answer = ("elasticache.describe_replication_groups", {"ReplicationGroups": [described]})
    assert one(recorded, scope, ARNS["elasticache-group"], "tls", answer).outcome is expected


def domain(**members):
    status = {"DomainId": "1", "DomainName": "features", "ClusterConfig": {}, **members}
    described = {**status, "ARN": ARNS["opensearch-domain"]}
    return "opensearch.describe_domain", {"DomainStatus": described}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"EnforceHTTPS": True, "TLSSecurityPolicy": "Policy-Min-TLS-1-2-2019-07"}, PASSED),
        ({"EnforceHTTPS": True, "TLSSecurityPolicy": "Policy-Min-TLS-1-0-2019-07"}, FAILED),
        ({"EnforceHTTPS": True, "TLSSecurityPolicy": "Policy-Of-2030"}, FAILED),
        ({"EnforceHTTPS": True}, FAILED),
        ({"EnforceHTTPS": False, "TLSSecurityPolicy": "Policy-Min-TLS-1-2-2019-07"}, FAILED),
        ({}, UNKNOWN),
    ],
)
def test_an_index_refuses_http_and_old_tls(recorded, scope, options, expected):
    described = domain(DomainEndpointOptions=options)
    assert one(recorded, scope, ARNS["opensearch-domain"], "tls", described).outcome is expected


OPEN = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "es:*", "Resource": "*"},
        ],
    }
)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"AccessPolicies": OPEN}, FAILED),
        ({"AccessPolicies": OPEN, "VPCOptions": {"VPCId": "vpc-1"}}, PASSED),
        ({"AccessPolicies": OPEN, "AdvancedSecurityOptions": {"Enabled": True}}, PASSED),
        (
            {
                "AccessPolicies": OPEN,
                "AdvancedSecurityOptions": {"Enabled": True, "AnonymousAuthEnabled": True},
            },
            FAILED,
        ),
        ({"AccessPolicies": ""}, PASSED),
        ({"AccessPolicies": "not JSON"}, UNKNOWN),
    ],
)
def test_an_index_that_lets_everybody_in(recorded, scope, members, expected):
    described = domain(**members)
    check = one(recorded, scope, ARNS["opensearch-domain"], "public", described)
    assert check.outcome is expected
    if expected is FAILED:
        assert check.findings[0].evidence["succeeds"]


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("JDBC", {"JDBC_ENFORCE_SSL": "true", "PASSWORD": "hunter2"}, PASSED),
        ("JDBC", {"JDBC_ENFORCE_SSL": "TRUE"}, PASSED),
        ("JDBC", {"JDBC_ENFORCE_SSL": "false", "PASSWORD": "hunter2"}, FAILED),
        ("JDBC", {}, FAILED),
        ("KAFKA", {"KAFKA_BOOTSTRAP_SERVERS": "broker:9094"}, PASSED),
        ("KAFKA", {"KAFKA_SSL_ENABLED": "false"}, FAILED),
        ("MONGODB", {"CONNECTION_URL": "mongodb://host/db"}, UNKNOWN),
        ("POSTGRESQL", {"JDBC_ENFORCE_SSL": "true"}, PASSED),
    ],
)
def test_a_connection_demands_tls_or_not(recorded, scope, kind, properties, expected):
    # moto drops the type of connections
    described = {"ConnectionType": kind, "ConnectionProperties": properties}
    answers = [
        ("glue.get_connection", {"Connection": described}),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
    ]
    check = one(recorded, scope, ARNS["glue-connection"], "tls", *answers)
    assert check.outcome is expected
    assert "hunter2" not in json.dumps(check.to_json())


@pytest.mark.parametrize(
    ("status", "expected"),
    [("ENABLED", PASSED), ("UPDATING", PASSED), ("DISABLING", FAILED), ("OF-2030", FAILED)],
)
def test_a_table_is_under_a_key_only_while_that_is_enabled(recorded, scope, status, expected):
    encryption = {"Status": status, "SSEType": "KMS", "KMSMasterKeyArn": KEY}
    described = {"TableArn": ARNS["dynamodb-table"], "SSEDescription": encryption}
    answer = ("dynamodb.describe_table", {"Table": described})
    check = one(recorded, scope, ARNS["dynamodb-table"], "key", answer, kms_keys=(KEY,))
    assert check.outcome is expected


@pytest.mark.parametrize(
    ("mode", "passwords", "faults"),
    [
        ("SSE-KMS", {"ReturnConnectionPasswordEncrypted": True}, []),
        ("SSE-KMS-WITH-SERVICE-ROLE", {"ReturnConnectionPasswordEncrypted": True}, []),
        ("SSE-KMS", {"ReturnConnectionPasswordEncrypted": False}, ["passwords"]),
        ("SSE-KMS", None, ["passwords"]),
        ("DISABLED", {"ReturnConnectionPasswordEncrypted": True}, ["metadata"]),
        ("OF-2030", None, ["metadata", "passwords"]),
    ],
)
def test_a_catalogue_holds_metadata_and_passwords(recorded, scope, mode, passwords, faults):
    settings = {"EncryptionAtRest": {"CatalogEncryptionMode": mode}}
    if passwords is not None:
        settings["ConnectionPasswordEncryption"] = passwords
    answers = [
        (
            "glue.get_data_catalog_encryption_settings",
            {"DataCatalogEncryptionSettings": settings},
        ),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
    ]
    check = one(recorded, scope, ARNS["glue-catalog"], "at_rest", *answers)
    assert [found.message.partition(" ")[0].rstrip(":") for found in check.findings] == faults


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (None, PASSED),
        ({"Principal": {"AWS": ROLE}, "Resource": arn("glue", "*")}, PASSED),
        ({"Principal": "*", "Resource": arn("glue", "*")}, FAILED),
        ({"Principal": "*", "Resource": arn("glue", "table/sales/*")}, FAILED),
    ],
)
def test_a_catalogue_that_lets_everybody_in(recorded, scope, statement, expected):
    policy = ("EntityNotFoundException", 400)
    if statement is not None:
        statements = [{"Effect": "Allow", "Action": "glue:GetTable", **statement}]
        policy = {"PolicyInJson": json.dumps({"Version": "2012-10-17", "Statement": statements})}
    answers = [
        (
            "glue.get_data_catalog_encryption_settings",
            {
                "DataCatalogEncryptionSettings": {
                    "EncryptionAtRest": {"CatalogEncryptionMode": "SSE-KMS"}
                }
            },
        ),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
        ("glue.get_resource_policy", policy),
    ]
    assert one(recorded, scope, ARNS["glue-catalog"], "public", *answers).outcome is expected


def test_query_results_that_athena_keeps_itself(recorded, scope):
    managed = {"Enabled": True, "EncryptionConfiguration": {"KmsKey": KEY}}
    described = {"Name": "features", "Configuration": {"ManagedQueryResultsConfiguration": managed}}
    answers = [
        ("athena.get_work_group", {"WorkGroup": described}),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
    ]
    made = scope(ARNS["athena-workgroup"], aws=recorded(*answers), kms_keys=(KEY,))
    assert outcomes(made) == {"at_rest": PASSED, "key": PASSED}


def kafka(**members):
    return "kafka.describe_cluster_v2", {
        "ClusterInfo": {"ClusterArn": ARNS["kafka-cluster"], **members}
    }


def brokers(clients="TLS", *, inside=True, public="DISABLED"):
    return {
        "BrokerNodeGroupInfo": {
            "ClientSubnets": ["subnet-1"],
            "InstanceType": "kafka.m7g.large",
            "ConnectivityInfo": {"PublicAccess": {"Type": public} if public else {}},
        },
        "NumberOfBrokerNodes": 3,
        "EncryptionInfo": {
            "EncryptionAtRest": {"DataVolumeKMSKeyId": KEY},
            "EncryptionInTransit": {"ClientBroker": clients, "InCluster": inside},
        },
    }


@pytest.mark.parametrize(
    ("provisioned", "expected"),
    [
        (brokers(), {"tls": PASSED, "inter_node": PASSED, "public": PASSED, "key": PASSED}),
        (brokers("TLS_PLAINTEXT"), {"tls": FAILED}),
        (brokers("PLAINTEXT"), {"tls": FAILED}),
        (brokers(inside=False), {"inter_node": FAILED, "tls": PASSED}),
        (brokers(public="SERVICE_PROVIDED_EIPS"), {"public": FAILED}),
        (brokers(public="OF-2030"), {"public": FAILED}),
        (brokers(public=None), {"public": UNKNOWN}),
        (None, {"tls": UNKNOWN, "inter_node": UNKNOWN, "public": UNKNOWN, "key": FAILED}),
    ],
)
def test_brokers(recorded, scope, provisioned, expected):
    described = kafka(**({"Provisioned": provisioned} if provisioned else {}))
    aws = recorded(described)
    found = outcomes(scope(ARNS["kafka-cluster"], aws=aws, kms_keys=(KEY,)))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("sound", "expected"), [(True, PASSED), (False, FAILED)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_processing_job(recorded, scope, sound, expected, count):
    # moto forgets the cluster of processing jobs
    key = {"VolumeKmsKeyId": KEY} if sound else {}
    cluster = {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1, **key}
    output = {
        "OutputName": "o",
        "S3Output": {"S3Uri": "s3://o/", "LocalPath": "/o", "S3UploadMode": "EndOfJob"},
    }
    described = {
        "ProcessingJobName": "features",
        "AppSpecification": {"ImageUri": "x"},
        "ProcessingJobStatus": "Completed",
        "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        "ProcessingJobArn": ARNS["sagemaker-processing-job"],
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingOutputConfig": {"Outputs": [output], **({"KmsKeyId": KEY} if sound else {})},
        "NetworkConfig": {
            "EnableInterContainerTrafficEncryption": sound,
            "EnableNetworkIsolation": sound,
        },
    }
    aws = recorded(("sagemaker.describe_processing_job", described))
    checked = checks(scope(ARNS["sagemaker-processing-job"], aws=aws, kms_keys=(KEY,)))
    assert {name: check.outcome for name, check in checked.items()} == {
        "inter_node": PASSED if count == 1 else expected,
        "isolated": expected,
        "key": expected,
    }
    if not sound:
        assert [one.evidence["part"] for one in checked["key"].findings] == ["output", "volumes"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"EnableNetworkIsolation": True}, PASSED),
        ({"EnableNetworkIsolation": False}, FAILED),
        ({}, FAILED),
    ],
)
def test_a_model(recorded, scope, members, expected):
    # moto forgets the isolation of models
    described = {
        "ModelName": "features",
        "ModelArn": ARNS["sagemaker-model"],
        "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        **members,
    }
    aws = recorded(("sagemaker.describe_model", described))
    assert outcomes(scope(ARNS["sagemaker-model"], aws=aws)) == {"isolated": expected}


@pytest.mark.parametrize(
    ("access", "expected"),
    [("Disabled", PASSED), ("Enabled", FAILED), ("Of2030", FAILED), (None, UNKNOWN)],
)
def test_a_notebook_by_an_allow_list_of_accesses(recorded, scope, access, expected):
    name = ARNS["sagemaker-notebook-instance"]
    described = {"NotebookInstanceArn": name}
    if access:
        described["DirectInternetAccess"] = access
    answer = ("sagemaker.describe_notebook_instance", described)
    assert one(recorded, scope, name, "public", answer).outcome is expected


@pytest.mark.parametrize(
    ("capture", "results", "parts"),
    [
        ({"EnableCapture": True, "KmsKeyId": OTHER_KEY}, {"KmsKeyId": KEY}, ["captured data"]),
        ({"EnableCapture": False, "KmsKeyId": OTHER_KEY}, {"KmsKeyId": KEY}, []),
        ({"EnableCapture": True, "KmsKeyId": KEY}, {}, ["asynchronous results"]),
    ],
)
def test_an_endpoint_names_a_key_for_each_thing_it_writes(recorded, scope, capture, results, parts):
    capture = {
        "InitialSamplingPercentage": 1,
        "DestinationS3Uri": "s3://captured/",
        "CaptureOptions": [{"CaptureMode": "Input"}],
        **capture,
    }
    described = {
        "EndpointConfigName": "features",
        "EndpointConfigArn": ARNS["sagemaker-endpoint-config"],
        "ProductionVariants": [{"VariantName": "a", "ModelName": "features"}],
        "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        "KmsKeyId": KEY,
        "DataCaptureConfig": capture,
        "AsyncInferenceConfig": {"OutputConfig": results},
    }
    answer = ("sagemaker.describe_endpoint_config", described)
    name = ARNS["sagemaker-endpoint-config"]
    check = one(recorded, scope, name, "key", answer, kms_keys=(KEY,))
    assert [found.evidence["part"] for found in check.findings] == parts


@pytest.mark.parametrize(
    ("kind", "expected"), [("AES256", PASSED), ("KMS_DSSE", PASSED), ("OF-2030", FAILED)]
)
def test_a_repository_by_an_allow_list_of_modes(recorded, scope, kind, expected):
    described = {
        "repositoryArn": ARNS["ecr-repository"],
        "encryptionConfiguration": {"encryptionType": kind},
    }
    answer = ("ecr.describe_repositories", {"repositories": [described]})
    assert one(recorded, scope, ARNS["ecr-repository"], "at_rest", answer).outcome is expected


@pytest.mark.parametrize(
    "settings", [{}, {"S3Encryption": []}, {"S3Encryption": [{"S3EncryptionMode": "OF-2030"}]}]
)
def test_a_security_configuration_says_how_everything_is_encrypted(recorded, scope, settings):
    settings = {
        "CloudWatchEncryption": {"CloudWatchEncryptionMode": "SSE-KMS"},
        "JobBookmarksEncryption": {"JobBookmarksEncryptionMode": "CSE-KMS"},
        **settings,
    }
    answers = [
        (
            "glue.get_security_configuration",
            {"SecurityConfiguration": {"EncryptionConfiguration": settings}},
        ),
        ("sts.get_caller_identity", {"Account": ACCOUNT}),
    ]
    check = one(recorded, scope, ARNS["glue-security-configuration"], "at_rest", *answers)
    assert [found.evidence["part"] for found in check.findings] == ["S3"]


# ---------------------------------------------------------------- keys


def stream(key):
    described = {
        "StreamName": "features",
        "StreamARN": ARNS["kinesis-stream"],
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
        "EncryptionType": "KMS",
        "KeyId": key,
    }
    return "kinesis.describe_stream_summary", {"StreamDescriptionSummary": described}


@pytest.mark.parametrize(
    ("kind", "expected"), [("KMS", PASSED), ("NONE", FAILED), ("OF-2030", FAILED), (None, FAILED)]
)
def test_a_stream_by_an_allow_list_of_kinds(recorded, scope, kind, expected):
    call, answer = stream(KEY)
    answer["StreamDescriptionSummary"].pop("EncryptionType")
    if kind:
        answer["StreamDescriptionSummary"]["EncryptionType"] = kind
    check = one(recorded, scope, ARNS["kinesis-stream"], "at_rest", (call, answer))
    assert check.outcome is expected


def described_key(name=KEY, manager="CUSTOMER"):
    metadata = {"KeyId": name.rpartition("/")[2], "Arn": name, "KeyManager": manager}
    return "kms.describe_key", {"KeyMetadata": metadata}


@pytest.mark.parametrize(
    ("named", "answers", "expected"),
    [
        (KEY, [], PASSED),
        (OTHER_KEY, [], FAILED),
        (KEY.rpartition("/")[2], [described_key()], PASSED),
        ("alias/features", [described_key()], PASSED),
        ("alias/features", [described_key(OTHER_KEY)], FAILED),
        (arn("kms", "alias/features"), [described_key()], PASSED),
        ("alias/aws/kinesis", [], FAILED),
        (arn("kms", "alias/aws/kinesis"), [], FAILED),
        ("alias/features", [("kms.describe_key", ("AccessDeniedException", 400))], UNKNOWN),
        ("alias/features", [("kms.describe_key", ("NotFoundException", 400))], UNKNOWN),
    ],
)
def test_a_key_is_looked_up_unless_it_is_named_by_its_arn(
    recorded, scope, named, answers, expected
):
    name = ARNS["kinesis-stream"]
    check = one(recorded, scope, name, "key", stream(named), *answers, kms_keys=(KEY,))
    assert check.outcome is expected


ALIAS = arn("kms", "alias/team")


@pytest.mark.parametrize(
    ("used", "answer", "expected"),
    [
        (KEY, described_key(), PASSED),
        (OTHER_KEY, described_key(), FAILED),
        (KEY, ("kms.describe_key", ("AccessDeniedException", 400)), UNKNOWN),
        ("alias/aws/kinesis", described_key(), FAILED),
    ],
)
def test_an_alias_in_kms_keys_stands_for_its_key(recorded, scope, used, answer, expected):
    name = ARNS["kinesis-stream"]
    check = one(recorded, scope, name, "key", stream(used), answer, kms_keys=(ALIAS,))
    assert check.outcome is expected
    found = resources(Settings(resources=(name,), kms_keys=(ALIAS,)), SubjectUri.parse("/data"))
    assert found["key"] == (arn("kms", "key/*"),)


@pytest.mark.parametrize(
    ("named", "answers", "expected"),
    [
        (KEY, [described_key()], PASSED),
        (KEY, [described_key(manager="AWS")], FAILED),
        (KEY, [described_key(manager="OF-2030")], FAILED),
        ("alias/aws/kinesis", [], FAILED),
        (KEY, [("kms.describe_key", ("AccessDeniedException", 400))], UNKNOWN),
    ],
)
def test_who_manages_a_key_is_asked_of_kms(recorded, scope, named, answers, expected):
    check = one(recorded, scope, ARNS["kinesis-stream"], "key_manager", stream(named), *answers)
    assert check.outcome is expected
    if expected is UNKNOWN:
        assert "kms:DescribeKey" in check.reason


# ---------------------------------------------------------------- whose store is it


def test_an_answer_about_the_same_name_elsewhere_is_no_answer(recorded, scope):
    other = ARNS["rds-db"].replace(ACCOUNT, "999999999999")
    check = one(recorded, scope, ARNS["rds-db"], "at_rest", db(DBInstanceArn=other))
    assert check.outcome is UNKNOWN
    assert other in check.reason


def test_where_aws_does_not_say_the_account_of_the_caller_counts(recorded, scope):
    described = ("ec2.describe_volumes", {"Volumes": [{"Encrypted": True}]})
    for account, expected in ((ACCOUNT, PASSED), ("999999999999", UNKNOWN)):
        caller = ("sts.get_caller_identity", {"Account": account})
        check = one(recorded, scope, ARNS["ebs-volume"], "at_rest", described, caller)
        assert check.outcome is expected
    refused = ("sts.get_caller_identity", ("AccessDenied", 403))
    check = one(recorded, scope, ARNS["ebs-volume"], "at_rest", described, refused)
    assert check.outcome is UNKNOWN


def test_a_secret_with_a_longer_name_is_another_secret(recorded, scope):
    name = arn("secretsmanager", "secret:team/features")
    for found, expected in (
        (f"{name}-AbCdEf", PASSED),
        (f"{name}-two-AbCdEf", UNKNOWN),
        (f"{name}AbCdEfg", UNKNOWN),
    ):
        answer = ("secretsmanager.describe_secret", {"ARN": found})
        assert one(recorded, scope, name, "at_rest", answer).outcome is expected


@pytest.mark.parametrize("count", [0, 2])
def test_a_description_of_none_or_of_several_stores_is_no_answer(recorded, scope, count):
    answer = ("rds.describe_db_instances", {"DBInstances": db()[1]["DBInstances"] * count})
    check = one(recorded, scope, ARNS["rds-db"], "at_rest", answer)
    assert check.outcome is UNKNOWN
    assert "may not exist" in check.reason


def test_a_store_is_described_once_however_many_questions_are_asked(recorded, scope):
    # a second call would find no recorded answer
    aws = recorded(db(), parameters("1"))
    assert outcomes(scope(ARNS["rds-db"], aws=aws, kms_keys=(KEY,))) == dict.fromkeys(
        ("at_rest", "key", "tls", "public"), PASSED
    )


def test_only_wanted_questions_are_asked_and_nothing_is_called_for_others(recorded, scope):
    made = scope(ARNS["rds-db"], aws=recorded(db()), checks=("encryption.store_at_rest",))
    assert outcomes(made) == {"at_rest": PASSED}
    made = scope(ARNS["rds-db"], aws=recorded(), checks=("encryption.object_mode",))
    assert outcomes(made) == {}


# ---------------------------------------------------------------- refusals


class Refusing(BaseHTTPRequestHandler):
    """An AWS that gives every request the same refusal."""

    status, code = 403, "AccessDeniedException"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"__type": self.code, "message": "no, hunter2"}).encode()
        if "x-www-form-urlencoded" in self.headers.get("Content-Type", ""):
            error = f"<Error><Code>{self.code}</Code><Message>no, hunter2</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()
        self.send_response(self.status)
        self.send_header("x-amzn-errortype", self.code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def refusals():
    """Run a server that refuses; return its URL and clients of it, by kind of refusal."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Aws(attempts=1, seconds=5.0)
    server.shutdown()
    server.server_close()


ACTION = {kind.on: kind.permissions[0].action for kind in TYPES}


@pytest.mark.parametrize("on", sorted(ARNS))
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "AccessDeniedException", "access denied"),
        (403, "UnauthorizedOperation", "access denied"),
        (501, "NotImplemented", "does not know this call"),
        (400, "UnknownOperationException", "does not know this call"),
        (404, "ResourceNotFoundException", "answered"),
        (503, "ThrottlingException", "in time"),
    ],
)
def test_a_refusal_is_never_a_pass(
    refusals, scope, monkeypatch, tmp_path, on, status, code, expected
):
    url, aws = refusals
    configure(monkeypatch, tmp_path, url)
    monkeypatch.setattr(Refusing, "status", status)
    monkeypatch.setattr(Refusing, "code", code)
    found = list(examine(scope(ARNS[on], aws=aws)))
    assert found
    for check in found:
        assert check.outcome is UNKNOWN
        assert check.target == ARNS[on]
        assert expected in check.reason
        assert "hunter2" not in check.reason
        if expected == "access denied":
            assert ACTION[on] in check.reason


@pytest.mark.parametrize(
    ("name", "answers", "asks", "action"),
    [
        ("rds-db", [db()], "tls", "rds:DescribeDBParameters"),
        ("rds-cluster", [db_cluster()], "tls", "rds:DescribeDBClusterParameters"),
        ("rds-cluster", [db_cluster()], "public", "rds:DescribeDBInstances"),
    ],
)
@pytest.mark.parametrize("status", [403, 501])
def test_a_further_call_that_is_refused(recorded, scope, name, answers, asks, action, status):
    call = {
        "rds:DescribeDBParameters": "rds.describe_db_parameters",
        "rds:DescribeDBClusterParameters": CLUSTER_PARAMETERS,
        "rds:DescribeDBInstances": "rds.describe_db_instances",
    }[action]
    refused = (call, ("AccessDenied" if status == 403 else "NotImplemented", status))
    check = one(recorded, scope, ARNS[name], asks, *answers, refused)
    assert check.outcome is UNKNOWN
    assert (action in check.reason) is (status == 403)


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize(
    ("on", "described", "refused", "action"),
    [
        (
            "ecr-repository",
            (
                "ecr.describe_repositories",
                {"repositories": [{"repositoryArn": ARNS["ecr-repository"]}]},
            ),
            "ecr.get_repository_policy",
            "ecr:GetRepositoryPolicy",
        ),
        (
            "secret",
            ("secretsmanager.describe_secret", {"ARN": ARNS["secret"]}),
            "secretsmanager.get_resource_policy",
            "secretsmanager:GetResourcePolicy",
        ),
    ],
)
def test_a_policy_that_may_not_be_read(recorded, scope, on, described, refused, action, status):
    code = "AccessDeniedException" if status == 400 else "NotImplemented"
    check = one(recorded, scope, ARNS[on], "public", described, (refused, (code, status)))
    assert check.outcome is UNKNOWN
    assert (action in check.reason) is (status == 400)


def test_nobody_answers(recorded, scope, monkeypatch, tmp_path):
    configure(monkeypatch, tmp_path, "http://127.0.0.1:9")
    made = scope(ARNS["sqs-queue"], aws=Aws(attempts=1, seconds=1.0))
    assert set(outcomes(made).values()) == {UNKNOWN}


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "name",
    [
        "arn:aws:rds:eu-west-1:123456789012:snapshot:x",
        "arn:aws:rds:eu-west-1:123456789012:db:",
        "arn:aws:rds::123456789012:db:x",
        "arn:aws:rds:eu-west-1:12345:db:x",
        "arn:aws:lambda:eu-west-1:123456789012:function:x",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/x/stream/y",
        "arn:aws:sqs:eu-west-1:123456789012:queue:1",
        "arn:aws:glue:eu-west-1:123456789012:catalogue",
        "arn:aws:s3:::bucket",
        "features",
        "",
        "gs://",
        "gs://b",
        "gs://bucket/x?alt=media",
        "azure://account",
        "azure://ACCOUNT/data",
        "azure://account/data?sig=hunter2",
    ],
)
def test_a_store_that_is_not_known_is_an_error_before_anything_is_asked(name):
    with pytest.raises(ConfigurationError) as error:
        resources(Settings(resources=(name,)), SubjectUri.parse("/data"))
    assert error.value.next_step
    assert "hunter2" not in str(error.value)


def test_an_unknown_type_names_the_known_ones_and_s3_points_to_the_subject():
    with pytest.raises(ConfigurationError, match="subject"):
        resources(Settings(resources=("arn:aws:s3:::bucket",)), SubjectUri.parse("/data"))
    name = "arn:aws:lambda:eu-west-1:123456789012:function:x"
    with pytest.raises(ConfigurationError, match=r"rds:\.\.\.:db:"):
        resources(Settings(resources=(name,)), SubjectUri.parse("/data"))


def test_resources_name_what_permissions_are_on():
    found = resources(Settings(resources=tuple(ARNS.values())), SubjectUri.parse("/data"))
    for on, name in ARNS.items():
        whole = on in ("ebs-volume", "glue-security-configuration")
        assert found[on] == (("*",) if whole else (name,))
    named = {permission.on for question in AREA.questions for permission in question.permissions}
    assert named == set(found)
    assert found["rds-parameter-group"] == (arn("rds", "pg:*"),)
    assert found["key"] == (arn("kms", "key/*"),)
    assert resources(Settings(), SubjectUri.parse("/data")) == {}


def test_other_partitions_and_the_same_store_named_twice(recorded, scope):
    name = "arn:aws-us-gov:rds:us-gov-west-1:123456789012:db:features"
    aws = recorded(db(DBInstanceArn=name), region="us-gov-west-1")
    made = scope(name, name, aws=aws, checks=("encryption.store_at_rest",))
    assert [check.outcome for check in examine(made)] == [PASSED]


def test_every_question_can_be_answered_by_somebody_and_has_a_remedy():
    ids = [question.id for question in AREA.questions]
    assert len(set(ids)) == len(ids)
    for question in AREA.questions:
        assert question.remedy
        assert question.calls
        assert all(permission.action.count(":") == 1 for permission in question.permissions)
