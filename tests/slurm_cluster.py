"""A real Slurm on this machine, for tests: two nodes, on loopback alone. Needs root, and Debian's packages of Slurm.

``python -m tests.slurm_cluster COMMAND…`` runs a command while it stands, to try a profile by hand.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "setpriv")
NODES = ("node1", "node2")
# Where every command of Slurm looks, those that jobs start too: the Slurm plugin hands no SLURM_CONF on to them.
CONF = Path("/etc/slurm/slurm.conf")
LOCK = Path("/run/lock/lenscore-slurm.lock")
PREFIX = "lenscore-slurm-"

# Without NoInAddrAny and NoCtldInAddrAny the daemons, and srun, would listen at every address of the machine.
# Nodes are said to have more than the machine may have (config_overrides): requests are judged alike everywhere.
# OverMemoryKill looks once a second for a job step that holds more than it asked for, and ends it. Sites use
# cgroups for that, which a container that runs tests may not have.
TEMPLATE = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,bf_interval=1
MinJobAge=3600
KillWait=2
ReturnToService=2
GresTypes=gpu
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=4 RealMemory=20000 Gres=gpu:1
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Say what this machine lacks; nothing where a Slurm can be started."""
    programs = [program for program in PROGRAMS if shutil.which(program) is None]
    if programs:
        return f"no {', '.join(programs)} (Debian: apt-get install slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "a Slurm is started by root alone"


@contextmanager
def slurm_cluster() -> Iterator[Path]:
    """Start a Slurm, and stop it in the end, come what may; gives the folder of its logs."""
    with ExitStack() as stack:
        lock = stack.enter_context(LOCK.open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("another run of these tests has its Slurm on this machine") from None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        conf = _configured(folder)
        stack.enter_context(_linked(conf))
        stack.enter_context(_daemon(folder, "munged", "--foreground", "--force", *_munge_files(folder)))
        _wait("munged", (folder / "munge.sock").exists, folder)
        stack.enter_context(_daemon(folder, "slurmctld", "-D", "-f", str(conf)))
        for node in NODES:
            stack.enter_context(_daemon(folder, "slurmd", "-D", "-f", str(conf), "-N", node))
        stack.callback(_cancel_all)
        _wait("Slurm", lambda: _said("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * len(NODES), folder)
        yield folder


def _configured(folder: Path) -> Path:
    (folder / "state").mkdir()
    for node in NODES:
        (folder / node).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    first = _free_ports(2)
    values = {"controller": _free_ports(1), "first": first, "second": first + 1}
    # A GPU in name alone, so that a job may ask for one.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    conf = folder / "slurm.conf"
    conf.write_text(TEMPLATE.format(host=socket.gethostname().split(".")[0], folder=folder, **values))
    return conf


def _free_ports(count: int) -> int:
    """Return the first of so many consecutive ports that nobody listens at."""
    while True:
        with ExitStack() as stack, suppress(OSError):
            first = 0
            for offset in range(count):
                listener = stack.enter_context(socket.socket())
                listener.bind(("127.0.0.1", first + offset))
                first = first or listener.getsockname()[1]
            return first


@contextmanager
def _linked(conf: Path) -> Iterator[None]:
    """Make this the machine's Slurm, unless it has another."""
    if "SLURM_CONF" in os.environ:
        raise RuntimeError(f"SLURM_CONF names another cluster, {os.environ['SLURM_CONF']}; nothing is touched")
    # A link of an earlier run of these tests that was killed is left over: the lock says that it is over.
    if os.path.lexists(CONF):
        if not (CONF.is_symlink() and CONF.readlink().parent.name.startswith(PREFIX)):
            raise RuntimeError(f"{CONF} belongs to another cluster; it is not touched")
        CONF.unlink()
    CONF.parent.mkdir(parents=True, exist_ok=True)
    CONF.symlink_to(conf)
    try:
        yield
    finally:
        CONF.unlink()


@contextmanager
def _daemon(folder: Path, *command: str) -> Iterator[None]:
    """Run a daemon in the foreground, and end it; where this process is killed, the kernel ends it."""
    with (folder / f"{command[0]}-{command[-1]}.log".replace("/", "_")).open("w") as log:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _munge_files(folder: Path) -> list[str]:
    return [f"--{name}={folder}/munge.{end}" for name, end in (("key-file", "key"), ("pid-file", "pid"))] + [
        f"--seed-file={folder}/munge.seed",
        f"--log-file={folder}/munge.log",
        f"--socket={folder}/munge.sock",
    ]


def _cancel_all() -> None:
    """End all jobs, and wait for them: their processes are no children of this one."""
    _said("scancel", "--user=root")
    with suppress(RuntimeError):
        _wait("the end of the jobs", lambda: not _said("squeue", "-h"), None)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _wait(name: str, there: object, folder: Path | None, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            logs = (
                "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
                if folder
                else ""
            )
            raise RuntimeError(f"{name} did not come within {seconds} s\n{logs}")
        time.sleep(0.1)


if __name__ == "__main__":
    with slurm_cluster():
        sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)
