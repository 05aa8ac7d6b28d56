"""A Kafka broker in KRaft mode: one process, one node, on loopback."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fink_broker.errors import Unavailable
from fink_broker.services import jars, process

PORT = 9092
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
log.segment.bytes=268435456
log.retention.hours=168
log.retention.check.interval.ms=60000
"""


def left(known: dict[str, Any]) -> set[str]:
    """Which of its processes run on while others are started again: it has one only."""
    del known
    return set()


def start(home: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Start the broker under HOME/services/kafka on the ports it had before, if they are free; returns what it is."""
    folder = home / "services" / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    libs = jars.ensure("kafka")
    port, controller = process.free_ports([int(known.get("port", PORT)), int(known.get("controller_port", 0))])
    conf, log = folder / "server.properties", home / "logs" / "kafka.log"
    conf.write_text(PROPERTIES.format(port=port, controller=controller, data=folder / "data"))
    run = [jars.java(), "-Xmx640m", "-Xms128m", *process.JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libs}/*"]
    if not (folder / "data" / "meta.properties").is_file():
        prepare(run, conf, uuid.uuid4().bytes)
    pid = process.start([*run, "kafka.Kafka", str(conf)], log)
    process.wait(lambda: process.listens(pid, port) and _talks(port), pid, "Kafka", log)
    return {
        "bootstrap_servers": f"127.0.0.1:{port}", "port": port, "controller_port": controller, "pid": pid, "mark": str(conf), "log": str(log)
    }  # fmt: skip


def prepare(run: Sequence[str], conf: Path, cluster: bytes) -> None:
    """Format the storage for a cluster of this id."""
    # one word: an id may start with a dash, which after `-t` would be another option
    identifier = f"--cluster-id={urlsafe_b64encode(cluster).rstrip(b'=').decode()}"
    line = [*run, "kafka.tools.StorageTool", "format", identifier, "-c", str(conf)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [row for row in (done.stderr or done.stdout).splitlines() if row.strip()][-1:]
        raise Unavailable(f"Kafka's storage cannot be formatted: {' '.join(told)[:300]}; remove {conf.parent}, then run `fink up` again")


def _talks(port: int) -> bool:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
