"""HBase on one machine: a master with its own ZooKeeper and region server in one process, and a Thrift server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fink_broker.services import jars, process

PORT = 9090
OPENS = [
    f"--add-opens=java.base/{name}=ALL-UNNAMED"
    for name in ("java.lang", "java.lang.reflect", "java.io", "java.util", "java.util.concurrent", "java.util.concurrent.atomic",
                 "java.nio", "java.net", "sun.nio.ch", "sun.nio.cs", "jdk.internal.ref", "sun.security.action", "java.math", "java.time")
]  # fmt: skip


def left(known: dict[str, Any]) -> set[str]:
    """Which of its processes run on while others of them are started again: a master whose Thrift server died."""
    return {"pid"} if "pid" in known and process.alive(int(known["pid"]), known.get("mark", "")) else set()


def start(home: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Start master and Thrift server under HOME/services/hbase, or the Thrift server of a master that lives; returns what they are."""
    folder = home / "services" / "hbase"
    names = ("zookeeper_port", "master_port", "region_port")
    lives = bool(left(known))
    *inner, thrift = process.free_ports([*(0 if lives else int(known.get(name, 0)) for name in names), int(known.get("port", PORT))])
    ports = {name: int(known[name]) for name in names} if lives else dict(zip(names, inner, strict=True))
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    _write_site(conf, folder, ports, thrift)
    (conf / "log4j2.properties").write_text(
        "rootLogger.level = warn\nrootLogger.appenderRef.out.ref = out\nappender.out.type = Console\nappender.out.name = out\n"
        "appender.out.layout.type = PatternLayout\nappender.out.layout.pattern = %d %p %c{1}: %m%n\n"
    )
    libs = jars.ensure("hbase")
    base = [jars.java(), *process.JAVA, *OPENS, f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}", "-Djava.net.preferIPv4Stack=true"]
    path = ["-cp", f"{conf}:{libs}/*"]
    logs = {name: home / "logs" / f"hbase-{name}.log" for name in ("master", "thrift")}
    if lives:
        pid = int(known["pid"])
    else:
        pid = process.start([*base, "-Xmx1200m", "-Xms256m", *path, "org.apache.hadoop.hbase.master.HMaster", "start"], logs["master"])
        process.wait(lambda: all(process.listens(pid, ports[name]) for name in ("zookeeper_port", "master_port")), pid, "HBase", logs["master"])
    try:
        thrift_pid = process.start(
            [*base, "-Xmx400m", *path, "org.apache.hadoop.hbase.thrift.ThriftServer", "start", "-p", str(thrift), "-b", "127.0.0.1"],
            logs["thrift"],
        )
        process.wait(lambda: process.listens(thrift_pid, thrift) and _talks(thrift), thrift_pid, "HBase's Thrift server", logs["thrift"])
    except BaseException:
        process.stop(pid, "")
        raise
    return {
        "host": "127.0.0.1", "port": thrift, **ports, "pid": pid, "thrift_pid": thrift_pid, "mark": str(conf),
        "log": str(logs["master"]), "thrift_log": str(logs["thrift"]),
    }  # fmt: skip


def _talks(port: int) -> bool:
    """Whether tables can be listed and the region server has the meta table."""

    import happybase
    from thriftpy2.thrift import TException

    try:
        connection = happybase.Connection("127.0.0.1", port, timeout=5000)
        connection.tables()
        connection.close()
    except (TimeoutError, TException, OSError):
        return False
    return True


def _write_site(conf: Path, folder: Path, ports: dict[str, int], thrift: int) -> None:
    values = {
        "hbase.cluster.distributed": "false",
        "hbase.rootdir": f"file://{folder / 'data'}",
        "hbase.tmp.dir": str(folder / "tmp"),
        "hbase.zookeeper.property.dataDir": str(folder / "zookeeper"),
        "hbase.zookeeper.quorum": "127.0.0.1",
        "hbase.zookeeper.property.clientPort": str(ports["zookeeper_port"]),
        "hbase.zookeeper.property.clientPortAddress": "127.0.0.1",
        # a machine that is busy, or was asleep, must not make the master end itself: by default it does after ten seconds
        "zookeeper.session.timeout.localHBaseCluster": "120000",
        "hbase.zookeeper.property.maxSessionTimeout": "120000",
        "hbase.unsafe.stream.capability.enforce": "false",
        "hbase.wal.provider": "filesystem",
        "hbase.master.hostname": "localhost",
        "hbase.regionserver.hostname": "localhost",
        "hbase.master.ipc.address": "127.0.0.1",
        "hbase.regionserver.ipc.address": "127.0.0.1",
        "hbase.master.port": str(ports["master_port"]),
        "hbase.regionserver.port": str(ports["region_port"]),
        "hbase.master.info.port": "-1",
        "hbase.regionserver.info.port": "-1",
        "hbase.thrift.info.port": "-1",
        "hbase.regionserver.thrift.ipaddress": "127.0.0.1",
        "hbase.regionserver.thrift.port": str(thrift),
        "hbase.regionserver.handler.count": "10",
        "hbase.master.wait.on.regionservers.mintostart": "1",
        "hbase.procedure.remote.dispatcher.delay.msec": "20",
        "hbase.client.retries.number": "6",
        "hbase.thrift.server.socket.read.timeout": "600000",
    }
    body = "".join(f"  <property><name>{name}</name><value>{value}</value></property>\n" for name, value in values.items())
    (conf / "hbase-site.xml").write_text(f'<?xml version="1.0"?>\n<configuration>\n{body}</configuration>\n')
