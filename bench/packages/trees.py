"""The trees that are compared: as pip installs a library, and as the usual slimming leaves it.

The usual slimming is written by us from its public description, that of serverless-python-requirements'
``slim`` option and of many posts after it: delete tests, metadata and bytecode, and strip the shared
libraries. It strips by the builder's own code, which removes section headers as well: a little more than
binutils' ``strip`` does, for every processor, and without breaking a library.
"""

import os
import shutil
import subprocess
from pathlib import Path

from bench.baselines import nested_zip
from layer.builder import tree as trees
from layer.builder.pack import interpreter
from layer.builder.slim.elf import is_elf
from layer.builder.slim.strip import strip_tree
from layer.builder.steps import Job
from layer.builder.wheels import install as wheels
from layer.builder.wheels.lock import Lock


def install_as_pip(job: Job, lock: Lock, folder: Path) -> Path:
    """Install a lock's wheels into a folder, byte-compiled as pip does, and return it."""
    cache = job.work / "wheels"
    wheels.fetch(lock, job.target, job.recipe.cpu_index, cache, print)
    wheels.install(lock, job.target, cache, folder)
    compiler = interpreter.find_compiler(job.target, job.interpreters)
    if compiler is not None:
        command = [*compiler.command, "-I", "-m", "compileall", "-q", str(folder)]
        environment = {"PATH": os.environ.get("PATH", ""), **compiler.environment}
        # Some packages ship templates as .py: pip goes on, too.
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    return folder


def slim_as_usual(full: Path, folder: Path) -> Path:
    """Copy a tree, slim the copy as usual, and return it."""
    shutil.copytree(full, folder, copy_function=os.link)
    nested_zip.slim(folder)
    strip_tree(folder)
    return folder


def make_both(job: Job, lock: Lock, scratch: Path) -> dict[str, Path]:
    """Return both trees, ``pip`` and ``usual``, in a scratch folder."""
    pip = install_as_pip(job, lock, scratch / "pip")
    return {"pip": pip, "usual": slim_as_usual(pip, scratch / "usual")}


def find_largest_library(tree: Path) -> int:
    """Return the bytes of a tree's largest shared library, or 0."""
    return max((file.size for file in trees.files(tree) if is_elf(tree / file.path)), default=0)
