"""Models from a hub: one commit, safetensors and texts only, resumed where it stopped, checked against the hub's word.

The client library is an extra; where the hub is and who asks is its business (`HF_ENDPOINT`, `HF_TOKEN`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from pinxit import __version__
from pinxit.schema.errors import BadInput, BadModelFile, Interrupted, Missing, OutOfSpace, PinxitError
from pinxit.studio.hashes import HashCache, never
from pinxit.studio.store import write_json
from pinxit.weights.settings import read_json

SOURCE = "pinxit-source.json"
"""The file that says where a folder's files come from."""
WEIGHTS = ".safetensors"
TEXTS = (".json", ".txt", ".md", ".model")
"""Suffixes of configurations, tokenizers and model cards."""
LICENCES = frozenset({"LICENSE", "LICENCE", "NOTICE"})
MOST_TEXT = 128 * 2**20
"""Bytes of a file that is no weights."""
MOST_FILES = 2_000
TIMEOUT = 30.0
"""Seconds to wait for the list of files."""

_PART = re.compile(r"^(?!\.)[^\\/:\x00-\x1f\x7f]{1,200}$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Report = Callable[[str, int, int], None]
"""Told the file's name, how many bytes of it are here, and how many it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What is in `folder` now. `files` were wanted; `fetched` are those of them that were not here yet."""

    repository: str
    commit: str
    folder: Path
    files: tuple[str, ...]
    fetched: tuple[str, ...]
    bytes: int

    def to_json(self) -> dict[str, object]:
        """The result as plain JSON values."""
        return {
            "repository": self.repository,
            "commit": self.commit,
            "folder": str(self.folder),
            "files": list(self.files),
            "fetched": list(self.fetched),
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A file as the hub describes it. `sha256` is known of large files, `blob` (Git's SHA-1) of the others."""

    name: str
    size: int
    sha256: str
    blob: str

    @property
    def key(self) -> str:
        """What tells this content from another of the same name."""
        return (self.sha256 or self.blob)[:16]


def silent(_name: str, _done: int, _size: int) -> None:
    """Tell nobody."""


def pull(
    repository: str,
    folder: Path,
    *,
    cache: HashCache,
    revision: str | None = None,
    include: Sequence[str] = (),
    endpoint: str | None = None,
    report: Report = silent,
    stop: Callable[[], bool] = never,
) -> Pulled:
    """Bring `folder` to what one commit of `repository` holds, and note the commit in `pinxit-source.json` there.

    `include` are patterns such as `*.fp16.safetensors`; without them it is every file that is allowed. Only
    safetensors, JSON, texts and tokenizers are ever fetched. Raises BadInput for names that cannot be, Missing for what
    is not there or cannot be reached, OutOfSpace, BadModelFile for content that is not what the hub says, Interrupted.
    """
    hub = Hub(repository, endpoint)
    commit, offered = hub.offers(revision)
    wanted = _chosen(repository, offered, include)
    before = _source(folder, repository)
    missing = [file for file in wanted if not _is_here(folder / file.name, file, cache)]
    for file in missing:
        if (folder / file.name).exists() and file.name not in before:
            raise BadInput(
                f"{folder / file.name} is there already and is another file.", hint="Choose another folder with --to."
            )
    _check_space(folder, missing)
    for file in missing:
        target = folder / file.name
        with _writing(target, file):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{file.key}.partial")
            hub.fetch(commit, file, partial, report, stop)
            _check_content(partial, file)
            os.replace(partial, target)
        if file.name.endswith(WEIGHTS):
            cache.hashes(target)
    cache.save()
    files: dict[str, object] = dict(before)
    files |= {file.name: {"commit": commit, "size": file.size, "sha256": file.sha256} for file in wanted}
    source = {"repository": repository, "revision": revision or "main", "commit": commit, "files": files}
    with _writing(folder / SOURCE, None):
        write_json(folder / SOURCE, source, indent=1)
    return Pulled(
        repository=repository,
        commit=commit,
        folder=folder,
        files=tuple(file.name for file in wanted),
        fetched=tuple(file.name for file in missing),
        bytes=sum(file.size for file in missing),
    )


class Hub:
    """One repository on a hub, through the hub's own client. Raises Missing when that is not installed."""

    def __init__(self, repository: str, endpoint: str | None) -> None:
        # Read when the library is imported: nothing about this machine is told, and no list is fetched to describe it.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            import huggingface_hub
        except ImportError as error:
            raise Missing(
                "Fetching models needs the package huggingface-hub, which is not installed.",
                hint='Install it: pip install "pinxit[hub]"',
            ) from error
        self._library = huggingface_hub
        self._repository = repository
        self._endpoint = endpoint
        self._client = huggingface_hub.HfApi(endpoint=endpoint, library_name="pinxit", library_version=__version__)

    def offers(self, revision: str | None) -> tuple[str, tuple[Offered, ...]]:
        """The commit that `revision` (the main branch without it) stands for, and its files."""
        with self._explained(revision):
            info = self._client.model_info(self._repository, revision=revision, files_metadata=True, timeout=TIMEOUT)
            commit, siblings = info.sha or "", list(info.siblings or ())[: MOST_FILES + 1]
            files = tuple(
                Offered(
                    name=str(one.rfilename),
                    size=int(one.size if one.size is not None else -1),
                    sha256=str(one.lfs.sha256) if one.lfs else "",
                    blob=str(one.blob_id or ""),
                )
                for one in siblings
            )
        if not _COMMIT.match(commit):
            raise self._strange()
        if len(files) > MOST_FILES:
            raise BadInput(f"{self._repository} has more than {MOST_FILES:,} files.", hint="Fetch it another way.")
        return commit, files

    def fetch(self, commit: str, file: Offered, partial: Path, report: Report, stop: Callable[[], bool]) -> None:
        """Fill `partial` with what it lacks of `file`."""
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = self._library.hf_hub_url(self._repository, file.name, revision=commit, endpoint=self._endpoint)
        headers = build_hf_headers(library_name="pinxit", library_version=__version__)
        done = partial.stat().st_size if partial.exists() else 0
        if done > file.size:
            partial.unlink()
            done = 0
        with self._explained(commit), partial.open("r+b" if done else "wb") as stream:
            stream.seek(0, os.SEEK_END)
            http_get(
                url,
                stream,
                resume_size=done,
                headers={**headers, "Accept-Encoding": "identity"},
                expected_size=file.size,
                displayed_filename=file.name,
                tqdm_class=_meter(file, report, stop),
            )
            stream.flush()
            os.fsync(stream.fileno())

    @contextmanager
    def _explained(self, revision: str | None) -> Generator[None]:
        """Turn the client's errors into ours."""
        from httpx2 import HTTPError, InvalidURL
        from huggingface_hub import errors

        name = self._repository
        try:
            yield
        except errors.GatedRepoError as error:
            raise Missing(
                f"{name} is gated: its owner wants its licence accepted first.",
                hint="Accept it on the model's page, then set HF_TOKEN to a token of yours.",
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise Missing(
                f"The hub has no repository {name}, or it is private.",
                hint="Check the name (owner/name); for a private one, set HF_TOKEN.",
            ) from error
        except errors.RevisionNotFoundError as error:
            raise Missing(f"{name} has no revision {revision}.", hint="Leave --revision out for the newest.") from error
        except errors.EntryNotFoundError as error:
            raise Missing(f"A file of {name} is gone from the hub.", hint="Run the command again.") from error
        except errors.OfflineModeIsEnabled as error:
            raise Missing(
                "The hub is not asked, because HF_HUB_OFFLINE is set.", hint="Unset it to fetch models."
            ) from error
        except errors.HFValidationError as error:
            raise BadInput(f"{name[:100]!r} is not the name of a repository.", hint="Write owner/name.") from error
        except errors.HfHubHTTPError as error:
            raise self._refused(error.response.status_code) from error
        except (HTTPError, InvalidURL) as error:
            raise Missing(
                f"The hub at {self._client.endpoint} cannot be reached: {str(error)[:200] or type(error).__name__}.",
                hint="Check the connection and HF_ENDPOINT; what was fetched is kept, and the same command goes on.",
            ) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Missing(
                "The hub sent less than it promised.", hint="What was fetched is kept; the same command goes on."
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._strange() from error

    def _refused(self, status: int) -> PinxitError:
        if status in (401, 403):
            return Missing(
                f"The hub refuses access to {self._repository} ({status}).", hint="Check the token in HF_TOKEN."
            )
        return Missing(f"The hub answered {status} for {self._repository}.", hint="Try again later.")

    def _strange(self) -> PinxitError:
        return Missing(
            f"What answers at {self._client.endpoint} does not speak as a hub does.", hint="Check HF_ENDPOINT."
        )


def _meter(file: Offered, report: Report, stop: Callable[[], bool]) -> Any:
    """A class that the client makes its progress bar of. It draws nothing, and ends the transfer when asked to."""

    class Meter:
        def __init__(self, *, initial: int = 0, **_: object) -> None:
            self._done = initial
            report(file.name, initial, file.size)

        def update(self, count: float | None = 1) -> None:
            if stop():
                raise Interrupted(f"Stopped while fetching {file.name}.", hint="The same command goes on.")
            self._done += int(count or 0)
            report(file.name, self._done, file.size)

        def __enter__(self) -> Meter:
            return self

        def __exit__(self, *_: object) -> None:
            return

    return Meter


def _chosen(repository: str, offered: Sequence[Offered], include: Sequence[str]) -> tuple[Offered, ...]:
    """The files to fetch. Raises BadInput for a pattern without a file, BadModelFile where only pickles are."""
    allowed = [file for file in offered if is_allowed(file)]
    chosen = [file for file in allowed if not include or _matches(file.name, include)]
    for pattern in include:
        if not any(_matches(file.name, (pattern,)) for file in allowed):
            refused = [file.name for file in offered if _matches(file.name, (pattern,))]
            raise BadInput(
                f"{refused[0]} is not fetched: only safetensors, JSON, texts and tokenizers are."
                if refused
                else f"{repository} has no file that matches {pattern!r}.",
                hint="Its weights: " + (", ".join(_weights(allowed)[:8]) or "none in safetensors"),
            )
    if not include and not _weights(allowed):
        others = [file.name for file in offered if Path(file.name).suffix in (".bin", ".ckpt", ".pt", ".pth")]
        raise BadModelFile(
            f"{repository} has no weights in safetensors" + (f", only pickles such as {others[0]}." if others else "."),
            hint="pinxit fetches no pickles, because they can run code: look for a converted copy.",
        )
    return tuple(chosen)


def is_allowed(file: Offered) -> bool:
    """Whether a file is of a harmless kind and size, and its name stays inside the folder."""
    parts = file.name.split("/")
    if len(parts) > 8 or not all(_PART.match(part) for part in parts) or file.size < 0 or not file.key:
        return False
    if file.name.endswith(WEIGHTS):
        return bool(re.fullmatch(r"[0-9a-f]{64}", file.sha256)) or bool(file.blob)
    return file.size <= MOST_TEXT and (file.name.endswith(TEXTS) or parts[-1] in LICENCES) and parts[-1] != SOURCE


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"*/{pattern}") for pattern in patterns)


def _weights(files: Sequence[Offered]) -> list[str]:
    return [file.name for file in files if file.name.endswith(WEIGHTS)]


def _source(folder: Path, repository: str) -> Mapping[str, object]:
    """The files of `folder` that were fetched from the same repository before."""
    if not (folder / SOURCE).exists():
        return {}
    try:
        source = read_json(folder / SOURCE)
    except BadModelFile:
        return {}
    files = source.get("files")
    if not isinstance(files, dict) or source.get("repository") != repository:
        return {}
    return cast("dict[str, object]", files)


def _is_here(path: Path, file: Offered, cache: HashCache) -> bool:
    try:
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return cache.sha256(path) == file.sha256 if file.sha256 else _git_blob(path) == file.blob
    except OSError:
        return False


def _check_content(path: Path, file: Offered) -> None:
    """Raise BadModelFile, and remove `path`, when it is not what the hub says."""
    size = path.stat().st_size
    found, said = (_sha256(path), file.sha256) if file.sha256 else (_git_blob(path), file.blob)
    if size != file.size or found != said:
        path.unlink()
        raise BadModelFile(
            f"{file.name} came with the fingerprint {found[:10]} and {size:,} bytes; the hub says {said[:10]} and "
            f"{file.size:,}.",
            hint="Run the command again; if that does not help, do not trust the connection.",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git_blob(path: Path) -> str:
    """The name that Git gives to a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(2**20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _check_space(folder: Path, files: Sequence[Offered]) -> None:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    partials = sum(path.stat().st_size for path in _partials(folder, files))
    need, free = sum(file.size for file in files) - partials, shutil.disk_usage(there).free
    if need > free:
        raise OutOfSpace(
            f"{need / 1e9:,.2f} GB are to be fetched, and {free / 1e9:,.2f} GB are free at {there}.",
            hint="Free some space, choose another folder with --to, or fewer files with --include.",
        )


def _partials(folder: Path, files: Sequence[Offered]) -> Iterator[Path]:
    for file in files:
        path = (folder / file.name).with_name(f".{Path(file.name).name}.{file.key}.partial")
        if path.is_file():
            yield path


@contextmanager
def _writing(path: Path, file: Offered | None) -> Generator[None]:
    """Turn the disk's errors into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            size = f" ({file.size / 1e9:,.2f} GB)" if file else ""
            raise OutOfSpace(
                f"The disk filled up while fetching {path.name}{size}.",
                hint="Free some space; what was fetched is kept, and the same command goes on.",
            ) from error
        raise BadInput(
            f"{path} cannot be written: {error.strerror}.", hint="Choose another folder with --to."
        ) from error
