"""The native parts: shared libraries, loaded through ctypes, with kernels per instruction set.

No -march=native: each kernels file raises the target for its own functions and is entered only
after a check of the CPU. Everything else about the package is in pyproject.toml.
"""

from glob import glob

from setuptools import Extension, setup


def native(package: str, *options: str) -> Extension:
    kernels = f"{package.replace('.', '/')}/kernels"
    return Extension(
        f"{package}._native",
        sources=sorted(glob(f"{kernels}/*.cpp")),
        depends=sorted(
            glob(f"{kernels}/*.h") + glob(f"{kernels}/*.inl") + glob(f"{kernels}/../include/*.h")
        ),
        language="c++",
        extra_compile_args=[
            "-std=c++17",
            "-O3",
            "-g0",
            "-fvisibility=hidden",
            "-fno-math-errno",
            # Products and sums are rounded one by one, so that every path gives the same bits.
            "-ffp-contract=off",
            "-Wall",
            "-Wno-psabi",
            "-Wno-maybe-uninitialized",  # GCC 12's own AVX-512 header
            "-Wno-uninitialized",  # the same
            *options,
        ],
        extra_link_args=list(options),
    )


setup(
    ext_modules=[
        # Vector code is explicit here; a struct filled by vector stores is slow to read back.
        native("ebcore.packed", "-pthread", "-fno-tree-slp-vectorize"),
        # OpenMP: inside a PyTorch process its runtime, so its threads.
        native("ebcore.layers", "-fopenmp"),
    ]
)
