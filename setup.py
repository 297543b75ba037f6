"""The native part: one shared library, loaded through ctypes, with kernels per instruction set.

No -march=native: each kernels file raises the target for its own functions and is entered only
after a check of the CPU. Everything else about the package is in pyproject.toml.
"""

from glob import glob

from setuptools import Extension, setup

KERNELS = "ebcore/packed/kernels"

setup(
    ext_modules=[
        Extension(
            "ebcore.packed._native",
            sources=sorted(glob(f"{KERNELS}/*.cpp")),
            depends=sorted(glob(f"{KERNELS}/*.h") + glob(f"{KERNELS}/*.inl")),
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
            ],
            extra_link_args=["-pthread"],
        )
    ]
)
