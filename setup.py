"""Build script: maps the top-level folders to the one package ``detassign``, whose root is ``api/``, and builds ``csrc/``.

The kernels are optional: without torch or a compiler the package is pure Python, and its wheel is tagged so. CPU kernels,
with every schema, are the module ``detassign.ops._C``; CUDA kernels are ``detassign.ops._C_cuda``, built where a CUDA
torch, a CUDA compiler of the same major version and a visible GPU are. ``DETASSIGN_CUDA=1`` builds them without a visible
GPU and makes a failure fatal; ``DETASSIGN_CUDA=0`` leaves them out.
"""

import importlib.util
import os
import shutil
import subprocess
import warnings
from glob import glob

from setuptools import Extension, find_packages, setup

FOLDERS = (
    "assigners",
    "bench",
    "cli",
    "compat",
    "configs",
    "data",
    "detectors",
    "engine",
    "evidence",
    "heads",
    "integrations",
    "ops",
    "testing",
)
LIMITED_API = "0x030A0000"  # Python 3.10, spelt as torch spells it
TORCH_TARGET = "0x020a000000000000"  # torch 2.10, the first whose stable ABI holds what csrc/ calls
DEFINES = [f"-DTORCH_TARGET_VERSION={TORCH_TARGET}", f"-DPy_LIMITED_API={LIMITED_API}"]
VECTORIZE = ["-O3", "-fno-trapping-math"]  # without traps, loops that choose between numbers become vectors
COMPILE_FLAGS = [*VECTORIZE, "-std=c++17", "-fvisibility=hidden", f"-ffile-prefix-map={os.getcwd()}/=", *DEFINES]


def package_names() -> list[str]:
    subpackages = {folder: find_packages(folder) for folder in FOLDERS}
    names = [name for folder in FOLDERS for name in (folder, *(f"{folder}.{inner}" for inner in subpackages[folder]))]
    return ["detassign", *(f"detassign.{name}" for name in names)]


def cuda_home() -> str | None:
    """The CUDA toolkit: what the environment names, else what the compiler on PATH belongs to, else the usual place."""
    compiler = shutil.which("nvcc")
    on_path = os.path.dirname(os.path.dirname(os.path.realpath(compiler))) if compiler else None
    candidates = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), on_path, "/usr/local/cuda")
    complete = (home for home in candidates if home and os.path.isfile(f"{home}/include/cuda_runtime.h"))
    return next((home for home in complete if os.path.isfile(f"{home}/bin/nvcc")), None)


def cuda_obstacle() -> str | None:
    """Why the CUDA kernels are not built, or None where they are."""
    import torch

    choice, home = os.environ.get("DETASSIGN_CUDA", ""), cuda_home()
    if choice == "0":
        return "DETASSIGN_CUDA=0"
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    if home is None:
        return "no CUDA toolkit with a compiler was found"
    release = subprocess.run([f"{home}/bin/nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    if f"release {torch.version.cuda.split('.')[0]}." not in release:
        return f"torch wants CUDA {torch.version.cuda} and {home} holds another major version"
    if choice != "1" and not torch.cuda.is_available():
        return "no GPU is visible (DETASSIGN_CUDA=1 builds them all the same)"
    return None


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def cuda_extension() -> Extension:
    from torch.utils.cpp_extension import CUDAExtension

    return CUDAExtension(
        "detassign.ops._C_cuda",
        sorted(glob("csrc/cuda/*.cpp") + glob("csrc/cuda/*.cu")),
        extra_compile_args={
            "cxx": [*COMPILE_FLAGS, "-DUSE_CUDA"],
            "nvcc": ["-O3", "-std=c++17", *DEFINES, "-DUSE_CUDA"],
        },
        depends=glob("csrc/*.h") + glob("csrc/cuda/*.h") + glob("csrc/cuda/*.cuh"),
        py_limited_api=True,
        optional=True,
    )


def cpu_extension() -> Extension:
    from torch.utils.cpp_extension import CppExtension

    return CppExtension(
        "detassign.ops._C",
        sorted(glob("csrc/*.cpp") + glob("csrc/cpu/*.cpp")),
        extra_compile_args={"cxx": COMPILE_FLAGS},
        depends=glob("csrc/*.h") + glob("csrc/cpu/*.h") + glob("csrc/cpu/*.inl"),
        py_limited_api=True,
        optional=True,
    )


def build_command() -> type:
    """torch's build_ext, except that what does not compile is left out with a warning: CUDA first, then everything."""
    from torch.utils.cpp_extension import BuildExtension

    class OptionalBuildExtension(BuildExtension):
        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:
                if os.environ.get("DETASSIGN_CUDA") == "1":
                    raise
                failed = self.extensions.pop()
                warnings.warn(
                    f"detassign: installing without {failed.name}, which did not build: {error}", stacklevel=2
                )
                if self.extensions:
                    self.build_extensions()

    return OptionalBuildExtension


def wheel_command() -> type:
    """bdist_wheel, except that a wheel without any kernel, since none compiled, is one for every platform and says so."""
    from setuptools.command.bdist_wheel import bdist_wheel

    class TruthfulWheel(bdist_wheel):
        def run(self) -> None:
            if not self.skip_build:
                self.run_command("build_ext")
            if not any(map(os.path.isfile, self.get_finalized_command("build_ext").get_outputs())):
                self.distribution.ext_modules = []
                self.root_is_pure, self.py_limited_api = True, False
            super().run()

    return TruthfulWheel


def extensions() -> dict[str, object]:
    """The arguments of ``setup`` that build ``csrc/``; none where torch is not there to build against."""
    if importlib.util.find_spec("torch") is None:
        warnings.warn("detassign: building without compiled ops, which need torch (--no-build-isolation)", stacklevel=2)
        return {}
    obstacle = cuda_obstacle()
    if obstacle and os.environ.get("DETASSIGN_CUDA") == "1":
        raise SystemExit(f"DETASSIGN_CUDA=1 asks for the CUDA kernels, but {obstacle}.")
    if not obstacle and not os.environ.get("TORCH_CUDA_ARCH_LIST") and not _sees_gpu():
        raise SystemExit("DETASSIGN_CUDA=1 without a GPU: say for which, as in TORCH_CUDA_ARCH_LIST='8.0;9.0+PTX'.")
    if not obstacle:
        os.environ["CUDA_HOME"] = cuda_home()  # read when torch.utils.cpp_extension is imported
    print(f"detassign: CPU kernels, {'no CUDA kernels: ' + obstacle if obstacle else 'CUDA kernels'}")
    return {
        "ext_modules": [cpu_extension()] if obstacle else [cpu_extension(), cuda_extension()],
        "cmdclass": {"build_ext": build_command(), "bdist_wheel": wheel_command()},
        "options": {"bdist_wheel": {"py_limited_api": "cp310"}},
    }


setup(
    packages=package_names(),
    package_dir={"detassign": "api", **{f"detassign.{folder}": folder for folder in FOLDERS}},
    package_data={"detassign": ["py.typed"], "detassign.evidence.pages": ["*.html", "*.css", "*.js"]},
    **extensions(),
)
