"""The models on this machine: the built-in one, the user's folders, and files named on the command line."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinxit.engine.library import CHECKPOINT, DIFFUSION_MODEL, OTHER, ModelEntry
from pinxit.schema.errors import BadInput, BadModelFile, Missing, PinxitError, UnknownName, nearest
from pinxit.schema.record import ModelFile
from pinxit.studio.hashes import HashCache, Hashes, Hashing, never
from pinxit.studio.paths import builtin_model, cache_folder, model_folders
from pinxit.studio.scan import BUILTIN, Scan, look
from pinxit.studio.walk import SUFFIXES, clean, is_legacy, stem
from pinxit.weights.folder import read_model

ASKED_BYTES = 32 * 2**30
"""The most that is read in search of a fingerprint that nobody has computed yet."""
MOST_LISTED = 20
"""Names that an error lists."""
MOST_COMPARED = 2_000
"""Names that one without an owner is compared with."""

_WITH_HASH = re.compile(r"^(?P<name>.*\S)\s*\[(?P<hash>[0-9a-f]{8,64})\]$", re.DOTALL)
_HASH = re.compile(r"^(?:(?:sha256|blake3|autov[123])[:=]|0x)?(?P<hash>[0-9a-f]{8,64})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One reading of a text: a name as it is compared, and a fingerprint (or its beginning) beside it."""

    name: str
    hash: str = ""


class Library:
    """Models by name or fingerprint. Files are never copied or changed, and what lies elsewhere is never opened: a name
    from outside is compared with what was found in the folders, and never made into a path. Threads may share one.
    """

    def __init__(self, folders: Sequence[Path] | None = None, *, builtin: Path | None = None) -> None:
        self._folders = tuple(folders) if folders is not None else model_folders()
        self._builtin = builtin or builtin_model()
        self._adopted: dict[str, ModelEntry] = {}
        self._cache = HashCache(cache_folder() / "hashes.json")
        self._scan: Scan | None = None
        self._hashing: Hashing | None = None
        self._lock = threading.RLock()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where models are looked for by name."""
        return self._folders

    @property
    def cache(self) -> HashCache:
        """The fingerprints that are known."""
        return self._cache

    def find(self, name: str | None, kind: str | None = CHECKPOINT) -> ModelEntry:
        """The model of a kind (None is any) called `name`; None is the built-in one.

        Case, a suffix and the folders before the last part do not matter where the rest is clear. `name [fingerprint]`
        chooses among equal names, and a fingerprint of 8 digits or more finds a file of any name. Raises UnknownName,
        BadInput when several answer to it, and Missing for what is here but cannot be what was asked for.
        """
        if (name or BUILTIN).casefold() == BUILTIN and kind in (CHECKPOINT, None):
            return self._builtin_entry()
        readings = _readings(name or "")
        scan = self._look()
        legacy: list[ModelEntry] = []
        for place in self._places(kind):
            for asked in readings:
                found = scan.named(asked.name, place)
                if usable := [entry for entry in found if not is_legacy(entry.path)]:
                    return self._chosen(usable, asked, kind)
                legacy += found
        if legacy:
            return _usable(legacy[0], kind)
        digits = readings[-1].hash or _digits(readings[0].name)
        if digits and (entry := self._by_hash(digits, kind)) is not None:
            return _usable(entry, kind)
        raise self._unknown(name or "", readings, kind)

    def entries(self, kind: str | None = CHECKPOINT) -> tuple[ModelEntry, ...]:
        """Models of one kind (None is every kind): the built-in one, those named by path, those in the folders.

        What has to be converted first is left out.
        """
        return tuple(
            entry
            for entry in self._look().entries
            if (kind is None or entry.kind == kind) and not is_legacy(entry.path)
        )

    def everything(self) -> tuple[ModelEntry, ...]:
        """All entries, those that have to be converted first among them."""
        return self._look().entries

    def adopt(self, path: Path) -> str:
        """Make a model outside the folders known by name, and return that name. Raises Missing or BadInput."""
        try:
            path = path.expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise Missing(f"There is no model at {path}.", hint="Check the path.", field="model") from error
        plain = stem(path.name)
        if not plain:
            raise BadInput(f"{path} has no name to call a model by.", hint="Rename it.", field="model")
        plain = clean(plain)
        with self._lock:
            taken = {entry.name.casefold(): entry.path for entry in self._look().entries}
            name, number = plain, 2
            while taken.get(name.casefold(), path) != path:
                name, number = f"{plain}-{number}", number + 1
            self._adopted[name.casefold()] = ModelEntry(name=name, title=name, path=path)
            self._scan = None
        return name

    def files(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        """Every weights file of a model with its SHA-256, computed once per change of the file."""
        return tuple(
            ModelFile(name=clean(path.name), sha256=hashes.sha256) for path, hashes in self.hashes(entry).items()
        )

    def short_hash(self, entry: ModelEntry) -> str:
        """A1111's fingerprint of an adapter, AutoV3; empty where the file is of another format."""
        return next(iter(self.hashes(entry).values())).autov3 or ""

    def hashes(self, entry: ModelEntry, *, stop: Callable[[], bool] = never) -> dict[Path, Hashes]:
        """Every weights file of a model with its fingerprints, the largest first.

        Raises ModelError, Missing, and Interrupted when `stop` says so.
        """
        header = read_model(entry.path)
        paths = sorted(header.sizes, key=lambda path: (-header.sizes[path], path.name))
        try:
            return {path: self._cache.hashes(path, stop=stop) for path in paths}
        finally:
            self._cache.save()

    def known_hashes(self, entry: ModelEntry) -> Hashes | None:
        """The fingerprints of a single file, if they were computed before; nothing is read."""
        try:
            return self._cache.known(entry.path) if entry.path.is_file() else None
        except (PinxitError, OSError):
            return None

    def weights(self, entry: ModelEntry) -> tuple[Path, ...]:
        """The files of an entry that hold numbers, the largest first; none where it cannot be read."""
        if entry.path.name.lower().endswith(SUFFIXES[1:]) and not entry.path.is_dir():
            return (entry.path,)
        try:
            sizes = read_model(entry.path).sizes
        except PinxitError:
            return ()
        return tuple(sorted(sizes, key=lambda path: (-sizes[path], path.name)))

    def start_hashing(self) -> Hashing:
        """Compute in the background what is not known yet, and return the work, which can be stopped."""
        with self._lock:
            if self._hashing is None or self._hashing.join(0):
                paths = dict.fromkeys(path for entry in self.everything() for path in self.weights(entry))
                self._hashing = Hashing(self._cache, paths)
            return self._hashing

    def _look(self) -> Scan:
        """What is there now; looked for again only where a folder has changed."""
        with self._lock:
            if self._scan is None or not self._scan.current():
                self._scan = look(self._folders, self._builtin, tuple(self._adopted.values()))
            return self._scan

    def _builtin_entry(self) -> ModelEntry:
        found = self._look().exact(BUILTIN, CHECKPOINT)
        if found is None:
            raise Missing(
                "The built-in model is not in this installation.",
                hint="Install pinxit again, or name a model of your own with --model.",
            )
        return found

    def _chosen(self, found: Sequence[ModelEntry], asked: Asked, kind: str | None) -> ModelEntry:
        """The one of `found` that `asked` means. Raises BadInput when that is not clear."""
        if asked.hash:
            return self._confirmed(found, asked.hash, kind)
        if len(found) > 1:
            raise BadInput(
                f"There are {len(found)} models that {asked.name!r} may mean: {_listed(found)}.",
                hint="Give the whole name.",
                field="model",
            )
        return found[0]

    def _confirmed(self, found: Sequence[ModelEntry], digits: str, kind: str | None) -> ModelEntry:
        """The one of `found` with the fingerprint, or else whatever has it. Raises Missing when nothing has."""
        entry = next((one for one in found if self._answers(one, digits)), None) or self._by_hash(digits, kind)
        if entry is None or is_legacy(entry.path):
            raise Missing(
                f"{found[0].name} is here, but it is not the file with the fingerprint {digits}.",
                hint=f"Ask for {found[0].name!r} alone to use it all the same.",
                field="model",
            )
        return entry

    def _answers(self, entry: ModelEntry, digits: str) -> bool:
        try:
            return any(hashes.answers_to(digits) for hashes in self.hashes(entry).values())
        except PinxitError:
            return False

    def _by_hash(self, digits: str, kind: str | None) -> ModelEntry | None:
        """The entry with a file of that fingerprint: first among those known, then by computing the others.

        Raises BadInput when the digits begin the fingerprints of several files.
        """
        files = {path: entry for entry in reversed(self._look().entries) for path in self.weights(entry)}
        places = self._places(kind)
        ordered = sorted(files, key=lambda path: (files[path].kind not in places, path))
        unknown = [path for path in ordered if self._known(path) is None]
        found = [path for path in ordered if (known := self._known(path)) and known.answers_to(digits)]
        if not found and sum(_size(path) for path in unknown) <= ASKED_BYTES:
            found = [path for path in unknown if self._computed(path, digits)]
            self._cache.save()
        contents = {known.sha256 for path in found if (known := self._known(path))}
        if len(contents) > 1:
            names = _listed([files[path] for path in found])
            raise BadInput(
                f"The fingerprint {digits} begins those of {len(contents)} files: {names}.",
                hint="Give more digits.",
                field="model",
            )
        return files[found[0]] if found else None

    def _places(self, kind: str | None) -> tuple[str, ...]:
        """Kinds of places in which a model of a kind is looked for, the best first. Our folders may hold anything."""
        if kind is None:
            return tuple(dict.fromkeys((CHECKPOINT, *(entry.kind for entry in self._look().entries))))
        return (CHECKPOINT, DIFFUSION_MODEL, OTHER) if kind == CHECKPOINT else (kind, OTHER, CHECKPOINT)

    def _known(self, path: Path) -> Hashes | None:
        try:
            return self._cache.known(path)
        except PinxitError:
            return None

    def _computed(self, path: Path, digits: str) -> bool:
        try:
            return self._cache.hashes(path).answers_to(digits)
        except PinxitError:
            return False

    def _unknown(self, name: str, readings: Sequence[Asked], kind: str | None) -> PinxitError:
        """The error that says what is known instead."""
        scan = self._look()
        asked = {reading.name for reading in readings}
        other = next((entry for entry in scan.entries if asked & set(scan.keys(entry))), None)
        if other is not None:
            return Missing(
                f"{other.name} lies among the models of the kind {other.kind}, not {kind}.",
                hint="Move it, or ask for another.",
                field="model",
            )
        usable = [entry for entry in scan.entries if not is_legacy(entry.path)]
        entries = [entry for entry in usable if entry.kind in self._places(kind)]
        entries = [entry for entry in entries if entry.kind == kind] or entries
        noun = kind if kind not in (CHECKPOINT, None) else "model"
        names = {spelling: entry.name for entry in entries for spelling in (entry.name.rpartition("/")[2], entry.name)}
        near = list(dict.fromkeys(names[spelling] for spelling in _nearest(stem(name)[:200], names)))
        error = UnknownName(noun, name[:200], near or [entry.name for entry in entries][:MOST_LISTED], field="model")
        if near:
            error.hint = f"Did you mean {' or '.join(map(repr, near))}?"
        elif len(entries) > MOST_LISTED:
            error.hint = f"There are {len(entries):,}: pinxit models list"
        return error


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    """The closest spellings; of very many only those that begin alike are compared, because each takes its time."""
    names = list(names)
    if len(names) > MOST_COMPARED:
        names = [one for one in names if one[:1].casefold() == name[:1].casefold()][:MOST_COMPARED]
    return nearest(name, names)


def _readings(text: str) -> tuple[Asked, ...]:
    """What `text` may mean, the plainest first: a name, one with a suffix, and either with a fingerprint after it."""
    text = unicodedata.normalize("NFC", text.strip()).replace("\\", "/").casefold()
    match = _WITH_HASH.match(text)
    whole = (Asked(name=text), Asked(name=stem(text)))
    if match is None:
        return whole
    return (*whole, *(Asked(name=name, hash=match["hash"]) for name in (match["name"], stem(match["name"]))))


def _digits(text: str) -> str:
    match = _HASH.match(text)
    return match["hash"].lower() if match else ""


def _usable(entry: ModelEntry, kind: str | None) -> ModelEntry:
    """`entry`, if it can be loaded as it is. Raises BadModelFile for a pickle."""
    if is_legacy(entry.path):
        raise BadModelFile(
            f"{entry.path.name} is a pickle, which can run code, so it is never loaded.",
            hint=f"Convert it: pinxit models convert {entry.path} {stem(entry.path.name)}.safetensors",
            field="model" if kind == CHECKPOINT else None,
        )
    return entry


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _listed(entries: Iterable[ModelEntry]) -> str:
    names = sorted({entry.name for entry in entries})
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
