"""The options that a rule's files and settings become, and lists that outgrow a command line."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from workflow import copy_project, snakemake

from workflow_scripts.base.cli import Folder, program_parser
from workflow_scripts.base.files import read_tsv, write_json, write_tsv
from workflow_scripts.study.commands import LONGEST, options


def made(config=None, files=(), write=True, lists="lists", **settings) -> list[str]:
    return shlex.split(options(config, files, settings, Path(lists), write))


def test_names_become_options_and_what_is_not_there_none():
    files = [("real_pairs", "a b.tsv"), ("tables", ["1.tsv", "2.tsv"]), ("reference", [])]
    words = made(
        {"b": 1, "a": [None, "x'y"]}, files, block_size=10, system="$(x)", simulated=True, rate=None, off=False
    )
    assert words[0] == "--config" and json.loads(words[1]) == {"b": 1, "a": [None, "x'y"]}
    assert words[2:] == [
        *("--real-pairs", "a b.tsv", "--tables", "1.tsv", "2.tsv"),
        *("--block-size", "10", "--system", "$(x)", "--simulated"),
    ]
    assert made(shard=0) == ["--shard", "0"]


def test_a_long_list_goes_through_a_file_and_comes_out_the_same(tmp_path):
    paths = [f"{tmp_path}/a folder with 'quotes'/{number}.tsv" for number in range(LONGEST // 20)]
    planned = made(None, [("tables", paths)], write=False, lists=tmp_path / "lists")
    assert len(planned) == 2 and not (tmp_path / "lists").exists(), "a plan writes nothing"
    words = made(None, [("tables", paths)], lists=tmp_path / "lists")
    assert words == planned
    parser = program_parser(None)
    parser.add_argument("--tables", nargs="+")
    assert parser.parse_args(words).tables == paths
    assert made(None, [("tables", paths[1:])], lists=tmp_path / "lists") != words, "another list is another file"


@pytest.mark.parametrize(
    ("given", "folder"),
    [(["model"], "model"), (["model/a.json"], "model"), (["new/b.safetensors", "new/sub/c.json"], "new")],
)
def test_a_folder_is_given_by_its_path_or_by_files_in_it(tmp_path, monkeypatch, given, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    parser = program_parser(None)
    parser.add_argument("--model", action=Folder)
    assert parser.parse_args(["--model", *given]).model == Path(folder)


def test_400_blocks_of_a_thousand_patients_are_gathered(tmp_path):
    """1,000 patients, ratio 4, below a path of 130 characters: more than Linux takes as one command."""
    project = copy_project(tmp_path)
    run = f"{'results-' + 'x' * (130 - len('results-'))}/many"
    config = {"data_root": "demo", "results": run.split("/")[0], "run": "many", "splits": {"n_real": [1000]}}
    config |= {"demo_cohort": {"cases": 1200}, "segmentation": {"ratios": [0, 4], "synthetic_only_ratios": [1]}}
    (project / "study.json").write_text(json.dumps(config))
    blocks = project / f"{run}/n_real~1000/synthetic/slice_ldm/blocks"
    for number in range(400):
        rows = {"case_id": f"SliceAug-{number:05d}-000", "number": number}
        write_tsv(blocks / f"{number}.tsv", pd.DataFrame([rows]))
        write_tsv(blocks / f"{number}.rejected.tsv", pd.DataFrame(columns=["number", "attempt", "reason"]))
    for kept in (
        "generator/slice_ldm/model",
        "memorisation/cases/reference",
    ):  # how the cases were released stays with the model
        write_json(project / f"{run}/n_real~1000/{kept}.json", {})
        (project / f"{run}/n_real~1000/{kept}.safetensors").touch()
    target = f"{run}/n_real~1000/synthetic/slice_ldm/cases.tsv"
    command = ("--configfile", "study.json", "--allowed-rules", "gather_synthetic", "--", target)
    done = snakemake(project, *command)
    assert done.returncode == 0, done.stdout[-3000:]
    assert list(read_tsv(project / target).number) == list(range(400))
