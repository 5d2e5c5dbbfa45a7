"""A real Kafka broker in KRaft mode, for tests and benchmarks; `make test-kafka` gets its jars."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

ROOT = Path(__file__).resolve().parents[2]
LIBS = Path(os.environ.get("SENSEGREP_KAFKA_LIBS", ROOT / ".kafka" / "libs"))
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},\
    SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,\
    TLS:SASL_SSL
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
    required user_reader="secret" user_stranger="secret";
listener.name.tls.sasl.enabled.mechanisms=PLAIN
listener.name.tls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
    required user_reader="secret" user_stranger="secret";
listener.name.tls.ssl.keystore.type=PKCS12
listener.name.tls.ssl.keystore.location={directory}/broker.p12
listener.name.tls.ssl.keystore.password=password
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
message.max.bytes=33554432
auto.create.topics.enable=false
"""


def why_no_broker() -> str:
    """Say what is missing to run a broker; empty if nothing is."""
    if not shutil.which("java"):
        return "needs Java to run a Kafka broker"
    if not any(LIBS.glob("kafka_2.13-*.jar")):
        return f"needs the jars of a Kafka broker in {LIBS}; make test-kafka gets them"
    return ""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Broker:
    """A running broker, and a client that writes to it."""

    def __init__(self, directory: Path) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self.sasl_address = f"127.0.0.1:{_free_port()}"  # for users with names and passwords
        self.tls_address = f"127.0.0.1:{_free_port()}"  # the same, encrypted
        self.certificate = directory / "broker.pem"  # what a client is to trust
        self._directory = directory
        self._make_certificate()
        properties = PROPERTIES.format(
            port=self.address.split(":")[1],
            sasl=self.sasl_address.split(":")[1],
            tls=self.tls_address.split(":")[1],
            controller=_free_port(),
            directory=directory,
        )
        (directory / "server.properties").write_text(properties)
        self._java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c").wait()
        self.start()

    def _make_certificate(self) -> None:
        """Make a key and a certificate for 127.0.0.1, signed by itself."""
        store = ["-keystore", str(self._directory / "broker.p12"), "-storetype", "PKCS12",
                 "-storepass", "password", "-alias", "broker"]  # fmt: skip
        for words in (
            ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "2",
             "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1"],
            ["-exportcert", "-rfc", "-file", str(self.certificate)],
        ):  # fmt: skip
            subprocess.run(["keytool", *words, *store], check=True, capture_output=True)

    def _java(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._directory / "log.txt").open("ab") as log:
            return subprocess.Popen(
                ["java", "-Xmx512m", "-cp", f"{LIBS}/*", program, *arguments,
                 str(self._directory / "server.properties")],
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def start(self) -> None:
        self._process = self._java("kafka.Kafka")
        self.admin = AdminClient({"bootstrap.servers": self.address})
        deadline = time.monotonic() + 90
        while True:
            try:
                self.admin.list_topics(timeout=2)
                return
            except KafkaException:
                assert self._process.poll() is None, "the broker ended; see its log.txt"
                assert time.monotonic() < deadline, "the broker did not come up"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def make_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        config = {"max.message.bytes": "33554432", **config}
        topic = NewTopic(name, partitions, 1, config=config)
        self.admin.create_topics([topic])[name].result(30)
        # A broker answers before it has heard of the topic from its controller.
        deadline = time.monotonic() + 60
        while name not in self.admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline, f"topic {name} does not appear"
            time.sleep(0.1)

    def grow_topic(self, name: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(name, partitions)])[name].result(30)

    def remove_topic(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(30)

    def forget(self, name: str, partition: int, before: int) -> None:
        place = TopicPartition(name, partition, before)
        [future] = self.admin.delete_records([place]).values()
        future.result(30)

    def allow(self, user: str, topic: str) -> None:
        """Give a user the rights that a stream needs."""
        rights = [
            AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*",
                       operation, AclPermissionType.ALLOW)
            for operation in (AclOperation.READ, AclOperation.DESCRIBE)
        ]  # fmt: skip
        for future in self.admin.create_acls(rights).values():
            future.result(30)

    def put(self, topic: str, *messages: Any, partition: int = 0, key: str | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.address, "message.max.bytes": 33554432})
        for message in messages:
            value = message if isinstance(message, bytes | None) else json.dumps(message).encode()
            producer.produce(topic, value, key, partition)
            producer.poll(0)
        assert producer.flush(60) == 0
