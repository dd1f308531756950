"""What the command line says, in English; `locale/` holds the same in other languages.

Help of the request's fields is not here: it stands in their declarations (see `pinxit.schema.i18n`). Texts may hold
`{places}`.
"""

# A table, as long as it must be.
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
        "about.cite": (
            "List the training drawings that a picture of the built-in model is nearest to, with set, author and "
            "licence. Nearest is not the same as caused by."
        ),
        "about.evaluate": (
            "Score a model by what its pictures show: a judge that was trained apart from it looks at them. "
            "Beside every score stand what real pictures reach and what guessing reaches."
        ),
        "cite.close": "(very close)",
        "cite.meaning": "These are the nearest training drawings, not the cause of the picture.",
        "cite.unknown": "The picture holds no recipe: it may not be the built-in model's.",
        "error.cite": "The picture was painted by {model}, whose training drawings are not known here.",
        "hint.cite": "Only pictures of models that were trained by pinxit can be cited.",
        "evaluate.all-styles": "all styles",
        "evaluate.autoencoder": "autoencoder, on held-out drawings, inside them alone:",
        "evaluate.independent": "distances on nsfwjs-Inception (not comparable with published ones)",
        "evaluate.no-network": (
            "The independent network is absent, so no distances on it are told; bring it (29 MB) with --fetch."
        ),
        "flag.evaluate-data": (
            "Folder of a bank: measures the autoencoder on its held-out drawings, style by style, and how near the "
            "pictures come to its training drawings, pixel by pixel."
        ),
        "flag.evaluate-fetch": "Fetch the independent network (29 MB, through npm) if it is not in the cache.",
        "evaluate.ceiling": "real",
        "evaluate.comparison": "{second} less {first}, in points, with 95 % intervals:",
        "evaluate.copying": "nearness to training drawings",
        "evaluate.distances": "distances to real pictures",
        "evaluate.en": "English",
        "evaluate.failed": "The judge failed: it cannot be trusted.",
        "evaluate.foreign": (
            "A model that was not trained here: object scores would mean nothing, so only ground, colour and "
            "statistics are told."
        ),
        "evaluate.heading": "{model}: {count} pictures",
        "evaluate.held_out": "never shown, in a sibling style",
        "evaluate.held_out_alone": "never shown, without sibling",
        "evaluate.known": "known",
        "evaluate.noise": "noise",
        "evaluate.passed": "The judge passed.",
        "evaluate.real": "real",
        "evaluate.retrieval": "found again among {cells}, {group}: first {first} %, among ten {ten} %",
        "evaluate.share": "score",
        "evaluate.shuffled": "guessing",
        "evaluate.statistics": "statistics",
        "evaluate.task.background": "background",
        "evaluate.task.colour": "colour",
        "evaluate.task.count": "count",
        "evaluate.task.position": "position",
        "evaluate.task.single_object": "one object",
        "evaluate.task.size": "big and small",
        "evaluate.task.style": "style",
        "evaluate.task.two_objects": "two objects",
        "evaluate.zh": "Chinese",
        "flag.against": "A second model, which paints the same.",
        "flag.check": "Only examine the judge: exit code 0 when it passes.",
        "flag.citations": "How many drawings.",
        "flag.export-judges": "Write the workshop's judges instead, for models like the one in this folder.",
        "flag.first-seed": "Seed of the first picture.",
        "flag.judges": "Folder of other judges; left out, those that come with pinxit.",
        "flag.pictures": "How many pictures to paint.",
        "flag.quick": "Few pictures, for a first look.",
        "operand.evaluated": "The model: a name, a file or a folder; left out, the built-in one.",
        "summary.cite": "List the training drawings nearest to a picture.",
        "summary.evaluate": "Score a model by what its pictures show.",
        "error.refiner": "Only a model that was trained by pinxit can be measured with its refiner.",
        "flag.evaluate-refiner": "Measure what this refiner gains the model on small things, composed from --data.",
        "evaluate.refining.autoencoder": "The autoencoder alone: {psnr} dB, feature distance {distance}.",
        "evaluate.refining.feature_distance": "feature distance ({network})",
        "evaluate.refining.heading": "{model} alone -> with {refiner}: {count} compositions, {side} pixels of each",
        "evaluate.refining.kid": "KID ({network})",
        "evaluate.refining.psnr": "PSNR in dB",
        "evaluate.refining.strength": "noised by {strength} and denoised, differences with 95 % intervals:",
        "evaluate.refining.verdict.better": "better",
        "evaluate.refining.verdict.undecided": "undecided",
        "evaluate.refining.verdict.worse": "worse",
        "flag.compile-training": "Compile the U-Net before the first step; on CUDA its kernels are replayed as graphs.",
        "flag.probe": "Train nothing; time a few steps in several ways and tell how long the whole recipe would take.",
        "flag.samples": "Paint a grid of samples from the averaged weights every N steps.",
        "flag.train-seed": "The seed of batches and noise; another one for every machine that goes on with --start.",
        "probe.failed": "{way}: {failure}",
        "probe.nothing": "Nothing was trained or chosen: set the batch in the recipe, and --compile where it pays.",
        "probe.row": "{way}: {rate} samples per second, {milliseconds} ms a step, {memory} MiB; {hours} h in all",
        "about.compare": (
            "Paint the same recipes in two number formats and tell how alike the pictures are: the ratio of signal to "
            "noise, the similarity of structure (1 is the same) and how far the networks' results lie apart. That "
            "says nothing of how good either picture is."
        ),
        "compare.close": "{one} is hard to tell from {other}: the worst picture keeps {worst} of the structure.",
        "compare.differs": "{one} changes pictures visibly from {other}: the worst keeps {worst} of the structure.",
        "compare.picture": "{psnr} dB, structure {ssim}, latent {latent}: {prompt} (seed {seed})",
        "compare.same": "{one} looks the same as {other}: the worst picture keeps {worst} of the structure.",
        "compare.seconds": "The steps took {new} s and {old} s ({ratio}x), on this machine as busy as it was.",
        "error.recipes": "There are {count} recipes to compare.",
        "flag.compared-with": "The number format that it is compared with.",
        "flag.compared": "The number format to judge.",
        "flag.pairs": "Write each pair of pictures side by side into this folder.",
        "flag.recipe-steps": "Steps of each picture; the model's own number where it is left out.",
        "flag.recipes": "How many recipes to paint.",
        "operand.model-compared": "The model; the built-in one where it is left out.",
        "summary.compare": "Compare pictures in two number formats.",
        "about": "Stable Diffusion, whole: offline, with the exact recipe in every picture.",
        "about.data": "Build a bank of drawings for training: fetch packages, render the drawings, set some aside.",
        "about.data-pack": (
            "Pack the drawings into one file as they come from their packages, vectors rather than pixels, so that "
            "a bank can be built from it on a machine without the registries."
        ),
        "about.data-sheet": "Write a contact sheet for each source of a bank, and a page that shows them.",
        "about.data-words": (
            "Write into a trained model's folder which words it was taught, and what comes nearest to others, so that "
            "plans can tell and --nearest-words can replace. Fetches WordNet through apt."
        ),
        "error.untrained": "{folder} holds no model that was trained here.",
        "hint.untrained": "Name the folder that `pinxit export` wrote.",
        "operand.trained": "Folder of a model that `pinxit export` wrote.",
        "summary.data-words": "Write which words a model was taught.",
        "data.packed": "{count} drawings, {megabytes} MB",
        "about.doctor": "Look at all that painting needs: Python, torch, memory, models, folders, extras, plugins.",
        "about.info": "Show the recipe that a picture holds; also the settings that A1111-compatible programs write.",
        "about.list": "List the names that flags accept.",
        "about.models": (
            "Look at model files, list them, and make others of them. Nothing in a model's file is ever run."
        ),
        "about.models-inspect": (
            "Say what a model file or folder is: its family, how it predicts, what it holds and lacks, its hashes, its "
            "licence, and what to do with it. Files that are no model are told apart too."
        ),
        "about.paint": "Paint pictures from a text. Each file holds its complete recipe; its path is printed.",
        "about.redo": "Paint a picture again from the recipe in its file. Every flag given here changes the recipe.",
        "about.export": "Write a trained model as a folder that pinxit and diffusers load, with its card and sources.",
        "about.train": "Train a part of a model by a recipe. A run that was stopped goes on where it was.",
        "about.verify": (
            "Paint a picture again and compare: exit code 0 when every pixel is equal, 1 when some differ, 5 when it "
            "cannot be remade here."
        ),
        "check.cache": "cache folder",
        "check.computes": "computes on, in",
        "check.extra": "extra",
        "check.gpu": "GPU",
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
        "error.previews": "The previews cannot be written to {folder}: {reason}.",
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
        "flag.means-device": "Where to compute: auto, cpu, cuda, cuda:1 or mps. auto takes a GPU where there is one.",
        "flag.memory": (
            "low holds as little in memory at once as can be; the picture stays the same. auto does so where memory is "
            "short."
        ),
        "flag.precision": (
            "Number format of the networks: auto, float32, bfloat16, float16, int8 or, on a GPU, float8. auto is the "
            "fastest that this machine computes well in."
        ),
        "flag.compile": (
            "Compile networks before they compute: faster steps on a GPU, after minutes at the first picture of a "
            "size. auto does so where that pays."
        ),
        "flag.dry-run": "Say what would be done, without painting.",
        "flag.help": "Show this page.",
        "flag.image-again": "The starting picture, where it is not found by its fingerprint beside the file or here.",
        "flag.model-out": "Folder to write the model to.",
        "export.no-wordnet": (
            "WordNet or the names of emoji are not in the cache, so words.json lists nothing near to unknown words: "
            "`pinxit data words {model} --data {bank}` fetches them and adds it."
        ),
        "flag.replace": "Replace the folder if it is there.",
        "flag.start": "Folder of an exported model that an empty workshop begins with.",
        "flag.into": "Folder of the model in the making.",
        "flag.json": "Print one line of JSON for each event.",
        "flag.keep-going": "Go on without packages that are gone or have changed.",
        "flag.lang": "Language of the texts. Left out, PINXIT_LANG or the system's.",
        "flag.limit": "Most drawings of each source.",
        "flag.adapter-again": "Paint with this adapter instead of those that the recipe names; may be given again.",
        "flag.model-again": "Paint with this model (a name or a path) instead of the one that the recipe names.",
        "flag.no-hashes": "Leave out the hashes, for which the whole file is read.",
        "flag.out": "Folder to make; it must not exist yet.",
        "flag.output": (
            "A folder, or a file ending in .png, .jpg, .jpeg or .webp. A file is replaced, and holds one picture; in a "
            "folder nothing is replaced."
        ),
        "flag.quiet": "Say nothing but results and errors.",
        "flag.seconds": "Stop after this time; the next run goes on.",
        "flag.sizes": "Edge lengths of the drawings in pixels.",
        "flag.export-refiner": "Write the refiner instead of the model.",
        "flag.previews": "Folder for a small picture of every step.",
        "flag.nearest-words": (
            "Replace words that the model was never taught by the nearest thing that it was, and say so. The recipe "
            "holds the words that were painted. Only for models that list their words, as the built-in one does."
        ),
        "paint.nearest": "The model was never taught '{word}': painting '{instead}' instead.",
        "paint.no-words": "This model does not list its words: the prompt stays as it is.",
        "flag.pack": "A pack to build from; then nothing is fetched.",
        "flag.pack-out": "The file to write, a .tar.xz.",
        "flag.sheet-out": "Folder for the sheets, which is made if need be.",
        "operand.bank": "Folder of the bank of drawings.",
        "flag.sources": "Names of the sources to take. Left out, all of them.",
        "flag.steps": "Steps to train, instead of the recipe's.",
        "flag.threads": "Processor threads to compute with.",
        "flag.trace": "Show Python's own account of an error.",
        "flag.version": "Show the version.",
        "group.advanced": "Advanced",
        "group.command": "This command",
        "group.common": "Every command",
        "group.means": "With what to compute",
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
        "hint.previews": "Name another folder for --previews.",
        "hint.output": "Choose another path.",
        "hint.paint": 'To paint it: pinxit paint "{prompt}"',
        "hint.quotes": "Put words that belong together in quotes.",
        "hint.space": "Free some space.",
        "hint.stdin": "Send it as UTF-8.",
        "hint.suffix": "Use {names}.",
        "hint.trace": "Run the command again with --trace to see where, and report it.",
        "info.foreign": "another program",
        "info.source": "Written by",
        "inspect.advice": "what to do",
        "inspect.but": "; but: ",
        "inspect.candidates": "may also be",
        "inspect.commercial": "commercial use",
        "inspect.component": "{name}: {parameters} weights in {tensors} tensors, {size} of {dtype}",
        "inspect.components": "holds",
        "inspect.evidence": "because",
        "inspect.family": "family",
        "inspect.file": "file",
        "inspect.hashes": "hashes",
        "inspect.kind": "is",
        "inspect.known": "published as",
        "inspect.layout": "layout",
        "inspect.licence": "licence",
        "inspect.licence-evidence": "because",
        "inspect.missing": "missing",
        "inspect.more": " and {count} more",
        "inspect.no": "no",
        "inspect.prediction": "prediction",
        "inspect.training": "made with",
        "inspect.unexpected": "unexpected",
        "inspect.unknown": "unknown",
        "inspect.unused": "not needed",
        "inspect.variant": "variant",
        "inspect.yes": "yes",
        "note.finished": "{count} painted in {seconds} s",
        "note.hashing": "Computing the hashes of {size}; --no-hashes leaves them out.",
        "note.not-taken": "Not taken over: {name}: {value}",
        "note.steps": "{total} steps, {pace}",
        "note.stopping": "Stopping after this step. Press Ctrl-C again to stop at once.",
        "operand.kind": "models, adapters, samplers or schedules",
        "operand.model-file": "A model file, an index of shards, or a folder; also the name of a model that is listed.",
        "operand.picture": "A picture with a recipe in it, or the JSON file of a recipe.",
        "operand.prompt": "What the picture should show, in quotes; - reads it from standard input.",
        "operand.workshop": "Folder of the model in the making.",
        "operand.recipe": "A .toml file, or the name of a recipe that comes with pinxit.",
        "page.table.code": "Exit code",
        "page.table.flag": "Flag",
        "page.table.meaning": "Meaning",
        "stage.decode": "turning it into pixels",
        "stage.denoise": "painting",
        "stage.refine": "refining",
        "stage.encode": "reading the prompt",
        "stage.finish": "writing the file",
        "stage.prepare": "preparing",
        "summary.bench": "Measure speed and compare with other programs.",
        "summary.data": "Build a bank of drawings for training.",
        "summary.data-pack": "Pack drawings into one file that travels.",
        "summary.data-sheet": "Write contact sheets of a bank.",
        "summary.doctor": "Check that everything needed is here.",
        "summary.info": "Show the recipe in a picture.",
        "summary.list": "List models, adapters, samplers or schedules.",
        "about.models-hash": (
            "Tell the fingerprints of model files: SHA-256, the 10 digits of titles and pictures (AutoV2), AutoV1, "
            "AutoV3 and BLAKE3. They are remembered until a file changes, and a model can be asked for by any of "
            "them."
        ),
        "about.models-list": (
            "List every model in your folders with what its file is. Only headers are read. Folders of A1111, "
            "ComfyUI, Fooocus, InvokeAI and caches of a hub are used where they lie."
        ),
        "about.models-pull": (
            "Fetch a model from a hub: one commit, safetensors and texts only, never anything that can run. What was "
            "stopped goes on where it was, and every file is checked."
        ),
        "error.no-folder": "There is no folder {folder}.",
        "error.nothing-to-hash": "pinxit models hash needs a file or a name.",
        "flag.all": "All models of the library.",
        "flag.include": "Only files that match one of these patterns, separated by commas.",
        "flag.kind": "Only models of this kind, such as checkpoint, vae or lora.",
        "flag.models": "Look in this folder instead: yours, or another program's.",
        "flag.revision": "Branch, tag or commit; left out, the newest.",
        "flag.to": "Folder for the files; left out, one of that name in your folder of models.",
        "hash.none": "none",
        "hint.no-folder": "Check the path.",
        "hint.nothing-to-hash": "--all takes all models of the library.",
        "list.dtype": "numbers",
        "list.family": "family",
        "list.hash": "hash",
        "list.kind": "kind",
        "list.name": "name",
        "list.size": "size",
        "note.fetching": "Fetching {name} ({size})",
        "note.listing": "reading headers",
        "note.no-models": "No models in {folders}.",
        "note.pulled": "{count} of {total} files fetched, commit {commit}",
        "operand.hashed": "Model files, or names of models.",
        "operand.repository": "The repository's name: owner/name.",
        "summary.models-hash": "Tell the fingerprints of model files.",
        "summary.models-list": "List models and what they are.",
        "summary.models-pull": "Fetch a model from a hub.",
        "summary.models-inspect": "Say what a model file is, and what to do with it.",
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
        "about.models-convert": (
            "Write a model in another form: one file or a diffusers folder, another number type, some of its "
            "networks. Nothing is ever loaded whole. Old pickles (.ckpt, .pt) are read by a locked-up process "
            "that runs nothing in them, GGUF files by the extra gguf."
        ),
        "about.models-merge": (
            "Mix models of one family: a weighted sum, or the difference of two added to a third; block by "
            "block if wanted. The recipe, with the hash of every input, is written into the file."
        ),
        "about.models-extract-vae": "Write a model's VAE as a file or folder of its own.",
        "about.models-prune": (
            "Write a model without what painting does not need (averaged copies, training state, buffers), in "
            "half precision."
        ),
        "summary.models-convert": "Write a model in another form.",
        "summary.models-merge": "Mix two or three models.",
        "summary.models-extract-vae": "Write a model's VAE by itself.",
        "summary.models-prune": "Make a model's file smaller.",
        "operand.model-in": "A model file, an index of shards, or a folder; also the name of a model that is listed.",
        "operand.model-out": "Where to write: a name ending in .safetensors, or a folder.",
        "operand.merge-a": "The first model, from which everything comes that is not mixed.",
        "operand.merge-b": "The second model.",
        "operand.merge-c": "For add-difference: the model that is subtracted from B.",
        "flag.dtype": "Number type of the floats. Left out, they stay as they are (prune: f16).",
        "flag.layout": "Form of the result; same keeps every name. Left out, it follows the name of the result.",
        "flag.components": "Only these networks, separated by commas, as in unet,vae.",
        "flag.max-shard-size": "Cut the weights into files of at most this size, as in 2GB.",
        "flag.overwrite": "Replace what is there.",
        "flag.keep-ema": "Keep the averaged weights beside the U-Net.",
        "flag.use-ema": "Use the averaged weights in place of the U-Net's.",
        "flag.merge-out": "The file or folder to write.",
        "flag.merge-mode": "weighted: (1 - ratio) A + ratio B. add-difference: A + ratio (B - C).",
        "flag.ratio": "How much of B, usually from 0 to 1.",
        "flag.blocks": (
            "Ratios of single blocks: in00=0.2,mid=0.5,out11=1; a number for each block; or a preset: grad-v, "
            "grad-a, flat-25, flat-50, flat-75, smoothstep, reverse-smoothstep, cosine, reverse-cosine."
        ),
        "flag.merge-vae": "Where the VAE comes from.",
        "flag.merge-text": "Where the text encoders come from.",
        "error.ratio": "--ratio must be a number, not {given}.",
        "note.left-out": "{count} tensors left out: {reason}",
        "note.written": "{tensors} tensors ({parts}), {size}",
    }
)
