"""Hashes that move when, and only when, something that counts moves; files that are whole or absent."""

import csv
import hashlib
import io
import json
import os

import numpy as np
import pandas as pd
import pytest

from workbench import provenance


def test_a_files_hash_follows_its_name_and_content_but_not_its_folder(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "a.csv").write_text("1")
        (tmp_path / folder / "sub" / "b.csv").write_text("2")
    files = {name: [tmp_path / name / "a.csv", tmp_path / name / "sub" / "b.csv"] for name in ("one", "two")}
    first = provenance.hash_files(files["one"])
    assert first == provenance.hash_files(files["two"]) == provenance.hash_files(files["one"][::-1])
    (tmp_path / "two" / "a.csv").write_text("1 ")
    assert provenance.hash_files(files["two"]) != first
    (tmp_path / "one" / "a.csv").rename(tmp_path / "one" / "c.csv")
    assert provenance.hash_files([tmp_path / "one" / "c.csv", files["one"][1]]) != first


def test_moving_a_byte_between_two_files_changes_the_hash(tmp_path):
    def hashed(first, second):
        (tmp_path / "a").write_text(first)
        (tmp_path / "b").write_text(second)
        return provenance.hash_files([tmp_path / "a", tmp_path / "b"])

    assert hashed("xy", "z") != hashed("x", "yz")


def test_parameters_hash_whatever_their_order_and_differ_by_value():
    one = provenance.hash_parameters({"city": "demo", "draws": 500})
    assert one == provenance.hash_parameters({"draws": 500, "city": "demo"})
    assert one != provenance.hash_parameters({"city": "demo", "draws": 501})


def test_running_a_notebook_in_jupyterlab_leaves_the_code_hash_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    cell = {"cell_type": "code", "source": ["1 + 1"], "metadata": {}, "outputs": [], "execution_count": None}
    notebook = tmp_path / "notebooks" / "01.ipynb"
    notebook.write_text(json.dumps({"cells": [cell]}))
    before = provenance.code_hash()
    ran = cell | {"outputs": [{"output_type": "stream", "text": "2"}], "execution_count": 1}
    notebook.write_text(json.dumps({"cells": [ran]}))
    assert provenance.code_hash() == before
    notebook.write_text(json.dumps({"cells": [cell | {"source": "1 + 2"}]}))
    assert provenance.code_hash() != before


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path):
    target = provenance.write_json(tmp_path / "r.json", {"mean": -1.5})
    with pytest.raises(ValueError, match="JSON"):
        provenance.write_json(target, {"mean": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        provenance.write_json(target, {"mean": np.float64("inf")})
    assert json.loads(target.read_text()) == {"mean": -1.5}
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]


def test_json_knows_numpy_scalars_arrays_and_tuples(tmp_path):
    content = {"n": np.int64(3), "share": np.float32(0.5), "draws": np.arange(2), "ok": np.bool_(True), "t": ("b", "a")}
    target = provenance.write_json(tmp_path / "r.json", content)
    assert json.loads(target.read_text()) == {"n": 3, "share": 0.5, "draws": [0, 1], "ok": True, "t": ["b", "a"]}


def test_a_write_that_fails_half_way_keeps_the_old_content(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    provenance.write_text(target, "old")

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="space"):
        provenance.write_text(target, "new")
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_versions_name_what_computes():
    found = provenance.versions()
    assert set(found) == {"python", "pymc", "arviz", "nutpie", "jax", "numpy", "pandas", "workbench"}
    assert found["numpy"] == np.__version__
    assert "absent" not in found.values()


def test_a_seal_is_the_sha256_of_canonical_json_and_breaks_when_anything_changes():
    content = {"b": [1.5, None], "a": {"z": "Liège", "y": True}}
    closed = provenance.seal(content)
    canonical = '{"a":{"y":true,"z":"Liège"},"b":[1.5,null]}'
    assert closed == content | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()}
    assert provenance.sealed(closed) and provenance.sealed(json.loads(json.dumps(closed)))
    assert not provenance.sealed(closed | {"b": [1.6, None]})
    assert not provenance.sealed(closed | {"c": 1})
    assert not provenance.sealed(content)
    assert provenance.seal(closed | {"b": []})["sha256"] != closed["sha256"]


def test_an_odd_file_has_a_broken_seal_and_stops_nothing():
    assert not provenance.sealed(json.loads('{"a": NaN, "b": "\\ud800", "sha256": 3}'))


def test_a_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_stay_numbers(tmp_path):
    texts = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", "\tx", "\rx", "a=b", "", None]
    frame = pd.DataFrame({"text": texts, "mixed": [-1.5, "=1", 2, None, "b", "-", 0, 1, 2], "number": -1.5})
    kept = frame.copy(deep=True)
    text = provenance.write_csv(tmp_path / "t.csv", frame).read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [row[0] for row in rows] == [*(f"'{one}" for one in texts[:6]), "a=b", "", ""]
    assert [row[1] for row in rows] == ["-1.5", "'=1", "2", "", "b", "'-", "0", "1", "2"]
    assert {row[2] for row in rows} == {"-1.5"}
    pd.testing.assert_frame_equal(frame, kept)
