"""Evidence cards: what leaves a city is sealed, checked, and says nothing of small cells."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from workbench import cards, collective, provenance
from workbench.errors import ParameterError, SchemaError
from workbench.schema import CONDITIONS


def project(name="hosts", **changes):
    about = {
        "project": name, "name": "Street hosts", "kind": "presence", "focus": "public-space", "areas": 3, "start": "2021-06",
        "cost_eur": 90000.0, "reached": 500.0, "without_pp": 25.0, "verdict": "cannot tell", "collective_impact": None,
        "registration": None,
    }  # fmt: skip
    return about | changes


def card(city="aa", *, projects=("hosts", "greens"), file=None, **changes):
    """A card written by hand: effects -0.1 and -0.3 logit with standard errors 0.2 and 0.3, correlation 0.5."""
    n = len(projects)
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])[:n, :n].tolist()
    about = {
        "schema": cards.VERSION, "made": "2026-01-31", "k": 10, "city": city, "city_name": city.upper(), "simulated": True,
        "item": "unsafe_neighbourhood", "family": "frequency-neighbourhood", "unsafe_from": "sometimes",
        "thresholds": {"sometimes": 0.0}, "window_months": "6-24", "prior": "sceptical",
        "projects": [project(name) if isinstance(name, str) else name for name in projects],
        "latent": {"mean": [-0.1, -0.3][:n], "covariance": covariance},
        "pp": {"mean": [-1.8, -5.0][:n], "covariance": covariance},
        "posterior_pp": dict.fromkeys(
            ("mean", "sd", "lower50", "upper50", "lower90", "upper90", "p_fall", "p_fall_minimum", "p_rise"), 0.5
        ),
        "n": {"respondents": 4000, "areas": 20, "treated_areas": 6, "waves": 5},
        "checks": [{"name": "convergence", "status": "pass"}], "verdict": "cannot tell", "grade": 3,
        "hashes": {"data": provenance.hash_parameters({"city": city}), "code": "0" * 64}, "versions": {}, "seconds": 1.0,
    }  # fmt: skip
    sealed = provenance.seal(about | changes)
    return sealed | ({"file": file or f"{city}.json"})


def write(folder, one, **changes):
    content = {name: value for name, value in one.items() if name != "file"} | changes
    return provenance.write_json(folder / one["file"], content)


def test_a_card_that_keeps_to_its_schema_is_read_with_full_precision(tmp_path):
    one = card(latent={"mean": [0.1 + 0.2, -1 / 3], "covariance": [[0.04, 0.01], [0.01, 0.09]]})
    write(tmp_path, one)
    assert cards.read_cards([tmp_path]) == [one]


def test_a_card_with_one_changed_digit_is_refused(tmp_path):
    path = write(tmp_path, card())
    path.write_text(path.read_text(encoding="utf-8").replace("-0.3", "-0.4", 1), encoding="utf-8")
    with pytest.raises(SchemaError, match="aa.json: its content is not what its sha256 says"):
        cards.read_cards([path])


def test_every_fault_of_every_card_is_told_at_once(tmp_path):
    write(tmp_path, card("aa", grade=9))
    write(tmp_path, card("bb", surprise=1))
    (tmp_path / "cc.json").write_text('{"grade": NaN}', encoding="utf-8")
    (tmp_path / "dd.json").write_text("no json", encoding="utf-8")
    with pytest.raises(SchemaError) as refused:
        cards.read_cards([tmp_path])
    told = str(refused.value)
    assert "aa.json: grade: 9 is greater than the maximum" in told and "'surprise' was unexpected" in told
    assert "cc.json: not a card (NaN is not a number)" in told and "dd.json: not a card" in told


@pytest.mark.parametrize(
    "latent, reason",
    [
        ({"mean": [0.0], "covariance": [[0.04]]}, "one mean and one row of the covariance for each project"),
        ({"mean": [0.0, 0.0], "covariance": [[0.04, 0.1], [0.1, 0.04]]}, "not a covariance"),
        ({"mean": [0.0, 0.0], "covariance": [[1.21, 0.0], [0.0, 0.04]]}, "1.21 is greater than the maximum of 1"),
        ({"mean": [0.0, 0.0], "covariance": [[1e-14, 0.0], [0.0, 0.04]]}, "more certain than any survey"),
        (
            {"mean": [float("inf"), 0.0], "covariance": [[0.04, 0.0], [0.0, 0.04]]},
            "not a number|greater than the maximum",
        ),
        ({"mean": [10**400, 0.0], "covariance": [[0.04, 0.0], [0.0, 0.04]]}, "latent/mean/0"),
    ],
)
def test_numbers_that_cannot_be_an_estimate_are_refused(tmp_path, latent, reason):
    file = write(tmp_path, card()).with_suffix(".json")
    content = provenance.seal({k: v for k, v in card().items() if k != "file"} | {"latent": latent})
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SchemaError, match=reason):
        cards.read_cards([tmp_path])


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"city": "bb\n"}, "city: 'bb.n' does not match"),
        ({"made": "2026-02-30"}, "made: '2026-02-30' is not a 'date'"),
        ({"city_name": "\ud800"}, "does not match|not a card"),
        ({"versions": {"anna": "1"}}, "'anna' is not one of"),
        ({"projects": [project("hosts"), project("hosts")]}, "projects: each project once"),
    ],
)
def test_words_that_do_not_belong_into_a_card_are_refused(tmp_path, change, reason):
    content = provenance.seal({k: v for k, v in card().items() if k != "file"} | change)
    (tmp_path / "evil.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SchemaError, match=reason):
        cards.read_cards([tmp_path])


@pytest.mark.parametrize("text", ['{"city": "leak", "city": "aa"}', "[" * 100_000])
def test_a_key_twice_or_a_bottomless_list_is_no_card(tmp_path, text):
    (tmp_path / "evil.json").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match="evil.json: not a card"):
        cards.read_cards([tmp_path])


def test_a_folder_without_cards_is_refused(tmp_path):
    with pytest.raises(SchemaError, match="no card in"):
        cards.read_cards([tmp_path])


def test_one_card_a_city_enters_and_the_others_are_named_with_their_reason():
    new, old = card("aa"), card("aa", made="2025-01-01", file="old.json", hashes=card("old")["hashes"])
    copy = card("a0", hashes=new["hashes"])
    chosen, out = cards.choose([old, new, card("bb", family="walking-after-dark"), copy, card("dd")])
    assert [one["file"] for one in chosen] == ["aa.json", "dd.json"]
    assert {row["file"]: row["reason"] for row in out} == {
        "old.json": "another card of this city is there, no older than this",
        "a0.json": "the same data as another card",
        "bb.json": "another item family (walking-after-dark)",
    }


def test_a_city_is_never_its_own_prior():
    own = SimpleNamespace(city="aa", data_hash="f" * 64, simulated=True)
    renamed = SimpleNamespace(city="zz", data_hash=card("bb")["hashes"]["data"], simulated=True)
    assert [one["city"] for one in cards.choose([card("aa"), card("bb")], own=own)[0]] == ["bb"]
    assert [one["city"] for one in cards.choose([card("aa"), card("bb")], own=renamed)[0]] == ["aa"]
    with pytest.raises(ParameterError, match="0 card.s. left to pool, 1 needed .aa.json: the city's own card"):
        cards.choose([card("aa")], own=own)


def test_simulated_and_real_cities_are_not_mixed():
    with pytest.raises(ParameterError, match="never pooled together"):
        cards.choose([card("aa"), card("bb", simulated=False)])


def test_a_focus_keeps_only_its_projects_with_their_part_of_the_covariance():
    mixed = card("aa", projects=(project("hosts", focus="radicalisation"), project("greens")))
    chosen, out = cards.choose([mixed, card("bb", projects=(project("x", focus=""),))], focus="public-space")
    stacked = cards.stack(chosen)
    assert stacked["project"].values.tolist() == ["aa/greens"]
    assert stacked["estimate"].values.tolist() == [-0.3] and stacked["covariance"].values.tolist() == [[0.09]]
    assert [row["reason"] for row in out] == ["no project for public space"]
    assert cards.choose([mixed, card("bb", projects=(project("x", focus=""),))], focus="public-space", lang="nl")[
        1
    ] == [{"file": "bb.json", "city_name": card("bb")["city_name"], "reason": "geen project voor openbare ruimte"}]


def test_an_older_card_does_not_come_back_where_the_newest_has_no_project_for_the_focus():
    new = card("aa", projects=(project("hosts", focus=""),))
    old = card("aa", made="2025-01-01", file="old.json", hashes=card("old")["hashes"])
    chosen, out = cards.choose([new, old, card("bb")], focus="public-space")
    assert [one["file"] for one in chosen] == ["bb.json"] and {row["file"] for row in out} == {"aa.json", "old.json"}


def test_stacked_cards_keep_the_covariance_within_a_city_and_none_between():
    stacked = cards.stack(cards.choose([card("aa"), card("bb")])[0])
    block = [[0.04, 0.03], [0.03, 0.09]]
    np.testing.assert_array_equal(stacked["covariance"], np.kron(np.eye(2), block))
    assert stacked["city_index"].values.tolist() == [0, 0, 1, 1] and stacked["kind"].values.tolist() == ["presence"] * 4


def test_a_kind_that_one_project_has_is_other():
    lone = card("aa", projects=(project("hosts"), project("greens", kind="greening")))
    assert cards.stack(cards.choose([lone, card("bb")])[0])["kind"].values.tolist() == [
        "presence",
        "other",
        "presence",
        "presence",
    ]


def small_panel(respondents):
    count = xr.DataArray(respondents, dims=("area", "wave"), coords={"area": ["a1", "a2"], "wave": ["2020", "2021"]})
    return xr.Dataset({"respondents": count}, attrs={"city": "aa", "item": "asked"})


ROWS, NO_SHARES = ["area", "wave", "item", "assumed"], SimpleNamespace(shares=None)


def test_no_card_is_made_where_four_people_stand_behind_a_number():
    with pytest.raises(ParameterError, match=r"aa: fewer than 10 respondents in a2 in 2021 \(4\): no card"):
        cards._refuse_small_cells(NO_SHARES, small_panel([[50, 10], [0, 4]]))


def test_cells_without_anyone_and_cells_whose_number_is_assumed_are_no_small_cells():
    cards._refuse_small_cells(NO_SHARES, small_panel([[50, 10], [0, 30]]))
    rows = [("a1", "2020", "asked", True), ("a1", "2021", "other", True), ("a2", "2021", "asked", False)]
    shares = SimpleNamespace(shares=pd.DataFrame(rows, columns=ROWS))
    cards._refuse_small_cells(shares, small_panel([[5, 50], [50, 50]]))
    for cells in ([[50, 5], [50, 50]], [[50, 50], [50, 5]]):  # assumed for another item; stated
        with pytest.raises(ParameterError, match="fewer than 10"):
            cards._refuse_small_cells(shares, small_panel(cells))


def test_a_run_that_is_not_done_gives_no_card(tmp_path):
    with pytest.raises(ParameterError, match="holds no evaluation"):
        cards.build_card(tmp_path)
    provenance.write_json(tmp_path / "result.json", {})
    provenance.write_json(tmp_path / "status.json", {"state": "blocked", "reason": "a check failed"})
    with pytest.raises(ParameterError, match="is blocked: a check failed; there is nothing to pool"):
        cards.build_card(tmp_path)


def test_a_score_of_many_raters_is_no_more_certain_than_a_card_may_say(tmp_path):
    cells = [(rater, name) for rater in range(40) for name in CONDITIONS]
    rows = pd.DataFrame(cells, columns=["rater", "condition"]).astype({"rater": str})
    scores = rows.assign(project="hosts", date=pd.Timestamp("2021-01-01"), score=2.0)
    rated = collective.score(scores, "hosts")
    write(tmp_path, card(projects=(project(collective_impact=rated), project("greens"))))
    assert cards.read_cards([tmp_path])[0]["projects"][0]["collective_impact"]["se"] == 0.05


def test_the_schema_says_what_every_key_is_and_allows_no_other(tmp_path):
    schema = json.loads(
        (provenance.paths.project_root() / "docs" / f"{cards.VERSION}.schema.json").read_text(encoding="utf-8")
    )
    assert set(schema["required"]) == set(schema["properties"]) == set(card()) - {"file"}
    assert not schema["additionalProperties"]
