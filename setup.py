"""What pyproject.toml cannot say: the files of the workflow (Snakefile, rules, configuration) go into the package, from where
they stand in the checkout, so that it works without one."""

from setuptools import find_packages, setup

PROJECT = "sliceaug.project"  # where workflow_scripts.base.provenance looks for them
FILES = [
    "Snakefile",
    "rules/*.smk",
    "rules/report/*",
    "config/*.yaml",
    "config/*/*.yaml",
    "profiles/*/*",
    "slurm/config.yaml",
    "envs/requirements.lock",
    "envs/sliceaug.yaml",
]

setup(
    packages=[*find_packages(include=["sliceaug*", "workflow_scripts*"]), PROJECT],
    package_dir={PROJECT: "."},
    package_data={
        PROJECT: FILES,
        "sliceaug": ["py.typed"],
        "workflow_scripts": ["py.typed"],
        "workflow_scripts.reporting.report": ["templates/*", "vendor/*"],
    },
    script_name="setup.py",  # which is no module of the package that lies beside it
    zip_safe=False,
)
