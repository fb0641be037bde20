"""Builds the image and holds a container of it to what the Dockerfile says: figures on stdout."""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from signal import SIGTERM
from typing import Any

from deploy.trial.base import ensure_base
from deploy.trial.containers import ROOT, Containers, Failed, expect, wait_for
from deploy.trial.world import World, get

IMAGE = "photogpt-webhooks"
_DRAIN_SECONDS = 25
_STARTS = 5
_TRAININGS, _AT_ONCE = 1000, 100
# As much as the sidecar's manifest grants.
_MEMORY = "192m"
# What a process may do, by its own account, and what it can write to.
_LOOK = """
import errno, os
said = dict(line.split(":\\t", 1) for line in open("/proc/1/status") if ":\\t" in line)
print("uid", said["Uid"].split()[0])
for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"):
    print(name, said[name].strip())
for folder in ("/", "/app", "/tmp", "/data"):
    try:
        open(os.path.join(folder, "probe"), "w").close()
        print(folder, "writable")
    except OSError as error:
        print(folder, errno.errorcode[error.errno])
"""


def build(containers: Containers, lock: str = "runtime") -> str:
    """The name of the image with the packages of this lock."""
    tag = f"{IMAGE}:{version()}" + ("" if lock == "runtime" else f"-{lock}")
    containers.build(tag, "--build-arg", f"LOCK={lock}")
    return tag


def version() -> str:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    if found is None:
        raise Failed("pyproject.toml has no version.")
    return found[1]


def trial(containers: Containers) -> None:
    base = ensure_base(containers)
    begun = time.monotonic()
    image = build(containers)
    tell("base", base)
    tell("built", f"{time.monotonic() - begun:.0f} s")
    _describe(containers, image, base.split()[0])
    with World(containers.folder) as world:
        started = [_start(containers, image, world, "gateway0")]
        look_inside(containers, "gateway0")
        expect("it has no shell", that=containers.ask_podman("exec", "gateway0", "/bin/sh", "-c", "true") != 0)
        expect("the health check is content", that=containers.ask_podman("healthcheck", "run", "gateway0") == 0)
        tell("memory idle", f"{memory(containers, 'gateway0'):.0f} MiB (Pss)")
        tell("webhook", world.train(world.gateway(0)))
        tell("load", world.train_many(world.gateway(0), _TRAININGS, _AT_ONCE))
        tell("memory then", f"{memory(containers, 'gateway0'):.0f} MiB (Pss), within --memory {_MEMORY}")
        ended = [_stop(containers, "gateway0")]
        for number in range(1, _STARTS):
            started.append(_start(containers, image, world, f"gateway{number}"))
            ended.append(_stop(containers, f"gateway{number}"))
        tell("ready", f"{min(started):.1f} to {max(started):.1f} s after `podman run`, {_STARTS} times")
        tell("SIGTERM", f"exit code 0 after {min(ended):.1f} to {max(ended):.1f} s, {_STARTS} times")
        tell("... at once", _stop_at_once(containers, image, world))


def tell(what: str, value: str) -> None:
    print(f"{what:12} {value}", flush=True)


def _describe(containers: Containers, image: str, base: str) -> None:
    described, size_of_base = containers.inspect("image", image), containers.inspect("image", base)["Size"]
    configured: dict[str, Any] = described["Config"]
    ours = described["Size"] - size_of_base
    tell("size", f"{described['Size'] / 1e6:.0f} MB, {ours / 1e6:.0f} of it ours; {_transferred(containers, image)}")
    expect("the image has a health check", that=bool(described.get("Healthcheck") or configured.get("Healthcheck")))
    expect("it runs as 10001", that=configured["User"] == "10001:10001")
    labels = configured["Labels"]
    expect("its label is its version", that=labels["org.opencontainers.image.version"] == version())


def _transferred(containers: Containers, image: str) -> str:
    """What a node without the base would load."""
    target = containers.folder / "pushed"
    containers.buildah("push", "--quiet", "--format", "docker", image, f"dir:{target}")
    size = sum(path.stat().st_size for path in target.iterdir())
    for path in target.iterdir():
        path.unlink()
    target.rmdir()
    return f"{size / 1e6:.0f} MB to load, compressed"


def _run(containers: Containers, image: str, world: World, name: str) -> None:
    confined = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    # A file that can't be executed in the place of the shell: whoever needs one would fail.
    mounts = ["--volume", f"{name}:/data", "--volume", "/dev/null:/bin/sh:ro"]
    settings = [option for setting in world.settings(name) for option in ("--env", setting)]
    containers.podman(
        "run",
        "--detach",
        "--name",
        name,
        "--network",
        "host",
        "--memory",
        _MEMORY,
        *confined,
        *mounts,
        *settings,
        image,
    )


def _start(containers: Containers, image: str, world: World, name: str) -> float:
    """Seconds until it is ready."""
    health = world.add_gateway(name)
    begun = time.monotonic()
    _run(containers, image, world, name)
    wait_for(f"{name} to be ready", lambda: get(health, "/readyz") == 200)
    return time.monotonic() - begun


def look_inside(containers: Containers, name: str) -> None:
    lines = containers.podman("exec", name, "python", "-ISc", _LOOK).splitlines()
    found = dict(line.split(maxsplit=1) for line in lines)
    tell("user", f"{found['uid']}, capabilities {found['CapEff']}, no new privileges {found['NoNewPrivs']}")
    tell("files", ", ".join(f"{folder} {found[folder]}" for folder in ("/", "/app", "/tmp", "/data")))
    expect("it is user 10001", that=found["uid"] == "10001")
    expect("it has no capability", that={found["CapEff"], found["CapBnd"]} == {"0" * 16})
    expect("it gets no new privileges", that=found["NoNewPrivs"] == "1")
    expect("system calls are filtered", that=found["Seccomp"] == "2")
    shut = {found[folder] for folder in ("/", "/app", "/tmp")}
    expect("only /data can be written to", that=shut == {"EROFS"} and found["/data"] == "writable")


def memory(containers: Containers, name: str) -> float:
    process = containers.inspect("container", name)["State"]["Pid"]
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+) kB", rollup, flags=re.MULTILINE)[0]) / 1024


def _stop(containers: Containers, name: str) -> float:
    begun = time.monotonic()
    containers.podman("stop", "--time", str(_DRAIN_SECONDS + 5), name)
    took = time.monotonic() - begun
    code = containers.inspect("container", name)["State"]["ExitCode"]
    expect(f"{name} ended with 0 and not {code}", that=code == 0)
    expect(f"{name} ended within {_DRAIN_SECONDS} s", that=took < _DRAIN_SECONDS)
    return took


def _stop_at_once(containers: Containers, image: str, world: World) -> str:
    """Ended while Python still loads it. Process 1 hears SIGTERM once it has a handler, and not before."""
    heard, took = [], []
    for number in range(_STARTS):
        name = f"early{number}"
        world.add_gateway(name)
        _run(containers, image, world, name)
        begun = time.monotonic()
        process = containers.inspect("container", name)["State"]["Pid"]
        wait_for("a handler of SIGTERM", partial(_hears_sigterm, process))
        heard.append(time.monotonic() - begun)
        took.append(_stop(containers, name))
    tell("... heard", f"{max(heard):.1f} s after the start at the latest")
    return f"exit code 0 after {min(took):.1f} to {max(took):.1f} s, {_STARTS} times"


def _hears_sigterm(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\t([0-9a-f]+)$", status, flags=re.MULTILINE)
    return bool(int(caught, 16) >> (SIGTERM - 1) & 1)
