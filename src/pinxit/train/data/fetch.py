"""Packages brought by their registries' own clients, and checked against the pinned sha256 before anyone reads them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.sources import Pinned

_TIME_LIMIT = 600.0


def fetch(source: Pinned, cache: Path) -> Path:
    """The package file of `source`, from `cache` or through its client.

    Raises Missing when the client is not installed or the registry no longer has the version, BadInput when the
    bytes are not those that were pinned.
    """
    found = fetched(source, cache)
    if found is None:
        found = _download(source, _folder(source, cache))
        check_hash(source, found)
    return found


def fetched(source: Pinned, cache: Path) -> Path | None:
    """The package file where it is in `cache` already. Raises BadInput when its bytes are not those pinned."""
    found = _only_file(_folder(source, cache))
    if found is not None:
        check_hash(source, found)
    return found


def _folder(source: Pinned, cache: Path) -> Path:
    return cache / f"{source.name}-{source.version.replace(':', '_')}"


def check_hash(source: Pinned, path: Path) -> str:
    """The sha256 of the file. Raises BadInput when it is not the one pinned for `source`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.sha256:
        raise BadInput(
            f"{source.package} {source.version} has changed: sha256 {digest}, expected {source.sha256}.",
            hint=f"Delete {path} and fetch it again; if it stays different, the registry serves other bytes than "
            "those reviewed and the source must be looked at before its pin is moved.",
        )
    return digest


def _only_file(folder: Path) -> Path | None:
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return files[0] if files else None


def _command(source: Pinned, folder: Path) -> list[str]:
    match source.client:
        case "npm":
            wanted = f"{source.package}@{source.version}"
            return ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), wanted]
        case "pip":
            return ["pip", "download", "--no-deps", "--dest", str(folder), f"{source.package}=={source.version}"]
        case "apt":
            return ["apt-get", "download", f"{source.package}={source.version}"]


def _download(source: Pinned, folder: Path) -> Path:
    if shutil.which(_command(source, folder)[0]) is None:
        raise Missing(
            f"{source.package} {source.version} comes through {source.client}, which is not installed.",
            hint=f"Install {source.client}, or leave out the source {source.name!r}.",
        )
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        done = subprocess.run(
            _command(source, partial.resolve()),
            cwd=partial,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(
            f"{source.client} did not bring {source.package} {source.version} within {_TIME_LIMIT:.0f} s.",
            hint="Try again when the registry answers.",
        ) from error
    found = _only_file(partial)
    if done.returncode != 0 or found is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(
            f"{source.client} could not bring {source.package} {source.version}"
            + (f": {said[-1].strip()}" if said else "."),
            hint=f"If the package is gone for good, build without the source {source.name!r} or with keep_going.",
        )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder / found.name
