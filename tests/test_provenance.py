"""What is recorded of where a training began."""

import importlib.metadata
import json
import platform

import torch

from dacapo_hd.provenance import provenance


def test_it_is_plain_data_about_this_process():
    found = provenance(["/somewhere/bin/dacapo-hd", "train", "run.yaml"])
    assert found["command"] == ["dacapo-hd", "train", "run.yaml"]
    assert found["python"] == platform.python_version()
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["packages"]["dacapo_hd"] == importlib.metadata.version("dacapo_hd")
    assert len(found["hardware"]["gpus"]) == torch.cuda.device_count()
    assert found["hardware"]["cores"] >= 1 and found["hardware"]["cpu"]
    assert json.loads(json.dumps(found)) == found


def test_passwords_stay_out_of_it():
    found = provenance(["dacapo-hd", "train", "run.yaml", "--store=mongodb://me:secret@server/em?authSource=admin"])
    assert found["command"][-1] == "--store=mongodb://server/em"
    assert "secret" not in json.dumps(found)
