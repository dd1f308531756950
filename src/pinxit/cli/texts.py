"""What the command line says, in English; `locale/` holds the same in other languages.

Help of the request's fields is not here: it stands in their declarations (see `pinxit.schema.i18n`). Texts may hold
`{places}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from pinxit.schema.language import LANGUAGES, language, locale_texts

__all__ = ["ENGLISH", "LANGUAGES", "Say", "language", "text"]


class Say(Protocol):
    """Gives the text called `key` in one language, its places filled."""

    def __call__(self, key: str, **values: object) -> str: ...


def text(key: str, lang: str = "en") -> str:
    """The text called `key`, of the command line or of the schema. Raises UnknownName when there is none."""
    if key in ENGLISH:
        return ENGLISH[key] if lang == "en" else locale_texts("pinxit.cli", lang)[key]
    from pinxit.schema.i18n import translate

    return translate(key, lang)


ENGLISH: Mapping[str, str] = MappingProxyType(
    {
        "about": "Stable Diffusion, whole: offline, with the exact recipe in every picture.",
        "about.data": "Build a bank of drawings for training: fetch packages, render the drawings, set some aside.",
        "about.doctor": "Look at all that painting needs: Python, torch, memory, models, folders, extras, plugins.",
        "about.info": "Show the recipe that a picture holds; also the settings that A1111-compatible programs write.",
        "about.list": "List the names that flags accept.",
        "about.paint": "Paint pictures from a text. Each file holds its complete recipe; its path is printed.",
        "about.redo": "Paint a picture again from the recipe in its file. Every flag given here changes the recipe.",
        "about.export": "Write a trained model as a folder that pinxit and diffusers load, with its card and sources.",
        "about.train": "Train a part of a model by a recipe. A run that was stopped goes on where it was.",
        "about.verify": (
            "Paint a picture again and compare: exit code 0 when every pixel is equal, 1 when some differ, 5 when it "
            "cannot be remade here."
        ),
        "check.cache": "cache folder",
        "check.cuda": "CUDA",
        "check.extra": "extra",
        "check.memory": "memory",
        "check.model": "built-in model",
        "check.model-folder": "model folder",
        "check.models": "your models",
        "check.pictures": "pictures",
        "check.pinxit": "pinxit",
        "check.plugin": "plugin",
        "check.processor": "processor",
        "check.python": "Python",
        "check.threads": "threads",
        "check.torch": "torch",
        "doctor.bad": "Not healthy: {count} of these must be mended before pinxit can paint.",
        "doctor.folder": "{folder}, {free} GiB free",
        "doctor.free": "{free} of {whole} GiB free",
        "doctor.healthy": "Healthy: pinxit can paint here.",
        "doctor.mark.bad": "bad ",
        "doctor.mark.note": "note",
        "doctor.mark.ok": "ok  ",
        "doctor.model": "found, and its files are whole",
        "doctor.no-extra": "{extra} is not installed ({names})",
        "doctor.permissions": "Change its permissions, or choose another folder.",
        "doctor.reinstall": "Install torch again.",
        "doctor.threads": "{threads} of {cores} cores",
        "doctor.unknown": "unknown",
        "doctor.unwritable": "{folder} cannot be written",
        "error.command": "There is no command {word}.",
        "error.cuda": "There is no CUDA device here.",
        "error.extra": "Unexpected: {word}",
        "error.extra-missing": "This needs the package {name}, which is not installed.",
        "error.family": "{word} needs a second word.",
        "error.flag": "There is no flag {flag}.",
        "error.foreign": "The picture was made by another program, so its exact recipe is not known.",
        "error.hint": "  {hint}",
        "error.input": "The input picture {name} is not here.",
        "error.internal": "Something went wrong inside pinxit: {kind}",
        "error.interrupted": "Stopped at once.",
        "error.language": "There is no language {tag}.",
        "error.line": "pinxit: {message}",
        "error.memory": "There is not enough memory.",
        "error.needs": "pinxit {command} needs {flag}.",
        "error.no-image": "{flag} works on a starting picture, and there is none.",
        "error.no-recipe": "{name} holds no recipe.",
        "error.operand": "pinxit {command} needs {operand}.",
        "error.other-image": "{name} is not the picture that the recipe starts from.",
        "error.output": "--output must be a path without control characters.",
        "error.space": "The disk is full.",
        "error.stdin": "Standard input is not UTF-8 text (byte {place}).",
        "error.stdin-long": "The prompt on standard input is longer than {most} bytes.",
        "error.suffix": "Pictures cannot be written as {suffix}.",
        "error.switch": "{flag} takes no value.",
        "error.value": "{flag} needs a value: {flag} {metavar}",
        "error.whole": "{flag} must be a whole number from {least} up, not {given}.",
        "exit.0": "done; for `verify`, the pictures are equal",
        "exit.1": "for `verify`, the pictures differ",
        "exit.2": "the command line itself is wrong",
        "exit.3": "a value, a file or a prompt cannot be used",
        "exit.4": "a model file is broken or not understood, or computed numbers that are not finite",
        "exit.5": "a model, a picture or a package is not here; for `doctor`, something keeps pinxit from painting",
        "exit.6": "not enough disk or memory",
        "exit.70": "an error inside pinxit that nobody foresaw",
        "exit.130": "stopped by the user",
        "exit.141": "whoever read the output closed it",
        "flag.bank": "Folder of the bank of drawings.",
        "flag.cache": "Folder for the fetched packages. Left out, the user's cache folder.",
        "flag.decay": "Last steps over which the learning rate falls to zero, instead of the recipe's.",
        "flag.device": "Device to train on. Left out, CUDA where there is one.",
        "flag.dry-run": "Say what would be done, without painting.",
        "flag.help": "Show this page.",
        "flag.image-again": "The starting picture, where it is not found by its fingerprint beside the file or here.",
        "flag.model-out": "Folder to write the model to.",
        "flag.replace": "Replace the folder if it is there.",
        "flag.start": "Folder of an exported model that an empty workshop begins with.",
        "flag.into": "Folder of the model in the making.",
        "flag.json": "Print one line of JSON for each event.",
        "flag.keep-going": "Go on without packages that are gone or have changed.",
        "flag.lang": "Language of the texts. Left out, PINXIT_LANG or the system's.",
        "flag.limit": "Most drawings of each source.",
        "flag.model-again": "Paint with this model (a name or a path) instead of the one that the recipe names.",
        "flag.out": "Folder to make; it must not exist yet.",
        "flag.output": (
            "A folder, or a file ending in .png, .jpg, .jpeg or .webp. A file is replaced, and holds one picture; in a "
            "folder nothing is replaced."
        ),
        "flag.quiet": "Say nothing but results and errors.",
        "flag.seconds": "Stop after this time; the next run goes on.",
        "flag.sizes": "Edge lengths of the drawings in pixels.",
        "flag.sources": "Names of the sources to render. Left out, the usual ones.",
        "flag.steps": "Steps to train, instead of the recipe's.",
        "flag.threads": "Processor threads to compute with.",
        "flag.trace": "Show Python's own account of an error.",
        "flag.version": "Show the version.",
        "group.advanced": "Advanced",
        "group.command": "This command",
        "group.common": "Every command",
        "help.commands": "Commands",
        "help.default": "default {value}",
        "help.examples": "Examples",
        "help.flags": "[FLAGS]",
        "help.more": "pinxit COMMAND --help shows the flags of a command.",
        "help.usage": "Usage: {usage}",
        "hint.commands": "pinxit --help lists the commands.",
        "hint.cuda": "Leave --device out to train on the processor.",
        "hint.dash": "Put -- before a word that begins with a dash.",
        "hint.family": "Known: {names}.",
        "hint.foreign": "pinxit redo paints it as nearly as its settings allow.",
        "hint.help": "See pinxit {command} --help.",
        "hint.image": "Add --image FILE.",
        "hint.input": "Give the file whose SHA-256 begins with {sha256} with --image.",
        "hint.language": "Known: {names}.",
        "hint.memory": "Close other programs, or ask for a smaller size.",
        "hint.nearest": "Did you mean {names}?",
        "hint.no-recipe": "Programs that edit or send pictures often take it out.",
        "hint.other-image": "Its SHA-256 begins with {sha256}; its name was {name}.",
        "hint.output": "Choose another path.",
        "hint.paint": 'To paint it: pinxit paint "{prompt}"',
        "hint.quotes": "Put words that belong together in quotes.",
        "hint.space": "Free some space.",
        "hint.stdin": "Send it as UTF-8.",
        "hint.suffix": "Use {names}.",
        "hint.trace": "Run the command again with --trace to see where, and report it.",
        "info.foreign": "another program",
        "info.source": "Written by",
        "note.finished": "{count} painted in {seconds} s",
        "note.not-taken": "Not taken over: {name}: {value}",
        "note.steps": "{total} steps, {pace}",
        "note.stopping": "Stopping after this step. Press Ctrl-C again to stop at once.",
        "operand.kind": "models, samplers or schedules",
        "operand.picture": "A picture with a recipe in it, or the JSON file of a recipe.",
        "operand.prompt": "What the picture should show, in quotes; - reads it from standard input.",
        "operand.workshop": "Folder of the model in the making.",
        "operand.recipe": "A .toml file, or the name of a recipe that comes with pinxit.",
        "page.table.code": "Exit code",
        "page.table.flag": "Flag",
        "page.table.meaning": "Meaning",
        "stage.decode": "turning it into pixels",
        "stage.denoise": "painting",
        "stage.encode": "reading the prompt",
        "stage.finish": "writing the file",
        "stage.prepare": "preparing",
        "summary.bench": "Measure speed and compare with other programs.",
        "summary.data": "Build a bank of drawings for training.",
        "summary.doctor": "Check that everything needed is here.",
        "summary.info": "Show the recipe in a picture.",
        "summary.list": "List models, samplers or schedules.",
        "summary.paint": "Paint pictures from a text.",
        "summary.redo": "Paint a picture again, with or without changes.",
        "summary.export": "Write a trained model as a folder.",
        "summary.train": "Train a model by a recipe.",
        "summary.verify": "Paint a picture again and compare.",
        "train.resume": "The state is saved; the same command goes on.",
        "train.stopped": "Stopped after {steps} steps.",
        "verify.change": "  {what}: was {then}, is {now}",
        "verify.differs": "Differs: {share} % of the pixels, by up to {largest} of 255; PSNR {psnr} dB.",
        "verify.equal": "Equal: every pixel is the same.",
        "verify.sizes": "Differs: the sizes are not the same.",
        "verify.unexplained": (
            "  The recipe explains no difference: the picture was changed after painting, or this processor rounds "
            "differently."
        ),
        "word.comma": ", ",
        "word.or": " or ",
        "word.pace": "s/step",
    }
)
