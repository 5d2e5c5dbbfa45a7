"""Package metadata of sensegrep. Beam ships this file to workers with --setup_file."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

# Ranges say what is known to work together; constraints.txt pins what is tested.
CORE = [
    "apache-beam>=2.77,<2.78",
    "faiss-cpu>=1.12,<2",
    "fsspec>=2025.3",
    "h5py>=3.12,<4",
    "numpy>=2.1,<2.5",
    "pyarrow>=18,<26",
    "safetensors>=0.5,<1",
    "scikit-learn>=1.6,<2",
    "scipy>=1.14,<2",
    "shtab>=1.7,<2",
    "spacy>=3.8,<3.9",
    "threadpoolctl>=3.5,<4",
    "torch>=2.6,<3",
    "tqdm>=4.66,<5",
    "wcwidth>=0.9,<1",
    "zstandard>=0.23,<1",
]
EXTRAS = {
    "train": ["gensim>=4.4,<5", "matplotlib>=3.10,<4"],
    "plot": ["matplotlib>=3.10,<4"],
    "gcp": ["gcsfs>=2025.3", "google-cloud-pubsub>=2.28,<3"],
    "kafka": ["confluent-kafka>=2.6,<3"],
    "aws": ["s3fs>=2025.3"],
    "http": ["aiohttp>=3.11,<4"],
    "serve": ["prometheus-client>=0.22,<1", "starlette>=1.0,<2", "uvicorn>=0.40,<1"],
    "zh": ["jieba>=0.42,<1"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
# Google Cloud's part of Beam: for submitting to Dataflow, and in its workers' image.
EXTRAS["dataflow"] = ["apache-beam[gcp]>=2.77,<2.78", "gcsfs>=2025.3"]
EXTRAS["test"] = [
    # Finds what assistive technology cannot use on the search page.
    "axe-playwright-python>=0.1.4,<1",
    # A server that speaks S3's protocol: conditional puts are tested against it.
    "confluent-kafka>=2.6,<3",
    "flask>=3.1,<4",
    "flask-cors>=6,<7",
    "gensim>=4.4,<5",
    "google-cloud-pubsub>=2.28,<3",
    "hypothesis>=6.130",
    "jieba>=0.42,<1",
    "matplotlib>=3.10,<4",
    "moto[s3]>=5.1,<6",
    "mypy>=1.15,<3",
    # The page in headless Chromium: make test-browser.
    "playwright>=1.50,<2",
    "prometheus-client>=0.22,<1",
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6,<4",
    "ruff>=0.11,<1",
    "s3fs>=2025.3",
    "schemathesis>=4,<5",
    "starlette>=1.0,<2",
    # Its interpreter runs the kernels of a GPU's training without one.
    "triton>=3.6,<4; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "uvicorn>=0.40,<1",
]

# The website of docs/ (make docs), and what is handed out (make release).
EXTRAS["docs"] = ["mkdocs-material>=9.7,<10", "mkdocstrings[python]>=1,<2"]
EXTRAS["release"] = ["build>=1.3,<2", "check-wheel-contents>=0.6,<1", "twine>=6,<8"]

setup(
    name="sensegrep",
    version="0.2.0",
    description="Embed text corpora with ELMo on Apache Beam and search them by word sense",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Listed by name, so that tests never ship to workers.
    packages=[
        "schemas",
        "elmo_infer",
        "elmo_infer.formats",
        "elmo_infer.training",
        "pipelines",
        "pipelines.commands",
        "pipelines.corpus",
        "pipelines.embed",
        "pipelines.embed.jobs",
        "pipelines.embed.jobs.workers",
        "pipelines.evaluation",
        "pipelines.index",
        "pipelines.maintenance",
        "pipelines.reading",
        "pipelines.search",
        "pipelines.senses",
        "pipelines.serving",
        "pipelines.text",
    ],
    package_data={
        "elmo_infer": ["models/*/*"],
        "pipelines.senses": ["*.safetensors", "*.txt"],
        "pipelines.serving": ["page/*"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sensegrep=pipelines.__main__:console"]},
)
