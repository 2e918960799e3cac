"""Pooling cards: the model against arithmetic done by hand, and the sentences against their numbers."""

from types import SimpleNamespace

import numpy as np
import pooling as benchmark
import pytest
import xarray as xr
from test_cards import card, project, write

from workbench import cards, pooling
from workbench.errors import ParameterError
from workbench.language import said
from workbench.models import evidence


def drawn(mu, *, tau=0.1, between=0.5, n=4000, **more):
    rng = np.random.default_rng(0)
    flat = {"mu": mu + 0.01 * rng.standard_normal(n), "tau": np.full(n, tau), "between": np.full(n, between)} | more
    posterior = xr.Dataset({name: (("chain", "draw"), np.reshape(x, (4, -1))) for name, x in flat.items()})
    tree = xr.DataTree.from_dict({"posterior": pooling._with_next(posterior, seed=1)})
    tree.attrs = {"rhat_max": 1.0, "ess_bulk_min": 1000.0, "ess_tail_min": 1000.0, "divergences": 0}
    return tree


def pool_of(n, *, estimate=-0.2, se=0.2, base=25.0):
    made = benchmark.stacked(np.broadcast_to(estimate, n), np.diag(np.broadcast_to(np.square(se), n)), range(n))
    return made.assign(base_pp=("project", np.full(n, base)))


def test_logits_become_points_at_their_base():
    assert pooling.to_pp(0.0, 30.0) == pytest.approx(0)
    assert pooling.to_pp(np.log(3.0), 50.0) == pytest.approx(25)  # odds 1 to 3: 50 % becomes 75 %


def test_the_density_is_the_written_one():
    pool = pool_of(3, estimate=[0.1, -0.2, 0.3], se=[0.2, 0.3, 0.4])
    model = evidence.build_model(pool, tails="normal")
    point = model.initial_point() | {"own": np.array([1.0, -1.0, 0.5])}
    both = [model.compile_logp()(point | {"mu_raw": np.asarray(mu)}) for mu in (0.0, 1.0)]
    size = np.exp(point["tau_raw_log__"])
    theta = np.array([0, 0.17])[:, None] + 0.17 * size * np.sqrt(0.5) * (point["city_raw"] + point["own"])
    miss = (np.array([0.1, -0.2, 0.3]) - theta) / np.array([0.2, 0.3, 0.4])
    by_hand = -0.5 * (miss**2).sum(1) - 0.5 * np.array([0, 1])
    assert both[1] - both[0] == pytest.approx(by_hand[1] - by_hand[0])


def test_a_card_without_weight_has_no_say():
    pool = pool_of(2, estimate=[0.1, 5.0])
    model = evidence.build_model(pool, tails="normal")
    model["weight"].set_value(np.array([1.0, 0.0]))
    without = model.compile_logp()(model.initial_point())
    model["estimate"].set_value(np.array([0.1, -5.0]))
    assert model.compile_logp()(model.initial_point()) == pytest.approx(without)


def test_a_next_city_differs_by_the_heterogeneity_and_its_projects_by_all_of_it():
    found = drawn(0.0, tau=1.0, between=0.25, n=400_000)["posterior"]
    assert float(found["next_mean"].std()) == pytest.approx(0.5, rel=0.01)
    assert float(found["next"].std()) == pytest.approx(1.0, rel=0.05)


def test_small_studies_with_larger_effects_are_noticed_and_equal_ones_are_not():
    se, rng = np.linspace(0.05, 0.4, 30), np.random.default_rng(0)
    level = pool_of(30, estimate=-0.1 + se * rng.standard_normal(30), se=se)
    tilted = pool_of(30, estimate=-0.1 - 2 * se + 0.3 * se * rng.standard_normal(30), se=se)
    assert pooling.small_studies(level, drawn(0, tau=0.01))["p"] > 0.1
    assert pooling.small_studies(tilted, drawn(0, tau=0.01))["slope"] == pytest.approx(-2, abs=0.3)
    assert pooling.small_studies(pool_of(9), drawn(0)) is None, "fewer than 10 projects"
    told = lambda p: said("small_studies", "en", p=p, few=10)
    assert "failures may be missing" in told(0.05) and "no sign" in told(0.2) and "10 projects or more" in told(None)


def test_a_slope_that_the_prior_made_is_called_prior_dominated():
    rng = np.random.default_rng(0)
    known, unknown = (drawn(0, slope=0.05 * share * rng.standard_normal(4000)) for share in (0.4, 0.95))
    assert "prior-dominated" in pooling.slope_sentence(unknown, lang="en")
    assert "prior-dominated" not in pooling.slope_sentence(known, lang="en")
    assert "No card has" in pooling.slope_sentence(drawn(0), lang="en")


@pytest.mark.parametrize("mu, lead", [(-0.3, "fewer residents"), (0.3, "more residents"), (0.0, "cannot be told yet")])
def test_the_headline_says_what_the_mean_allows(mu, lead):
    idata = drawn(mu)
    idata["posterior"] = (
        idata["posterior"].to_dataset().assign(theta=(("chain", "draw", "project"), np.full((4, 1000, 3), mu)))
    )
    told = pooling.sentence(pool_of(3), idata, lang="en")
    assert lead in told and "3 projects in 3 cities" in told and "base of 25 %" in told


def test_draws_that_did_not_settle_give_no_pooled_result():
    idata = drawn(-0.3)
    idata.attrs["divergences"] = 5
    assert pooling.sentence(pool_of(3), idata, lang="en").startswith("No pooled result")


def test_every_row_of_the_table_is_the_draws_own():
    idata, pool = drawn(-0.2), pool_of(2)
    theta = np.broadcast_to([-0.1, -0.3], (4, 1000, 2)) + 0.0
    idata["posterior"] = idata["posterior"].to_dataset().assign(theta=(("chain", "draw", "project"), theta))
    table = pooling.effects_table(pool, idata)
    rows = table[(table["estimand"] == "pooled_by_project") & (table["scale"] == "pp")]
    assert rows["mean"].tolist() == pytest.approx([pooling.to_pp(-0.1, 25.0), pooling.to_pp(-0.3, 25.0)])
    at_base = table[table["estimand"] == "pooled_mean_at_base"]
    assert at_base["city"].tolist() == ["c0", "c1"] and set(at_base["scale"]) == {"pp"}


def test_a_prior_from_cards_of_the_other_kind_of_city_is_refused(tmp_path):
    write(tmp_path, card("aa"))
    panel = SimpleNamespace(attrs={"item": "unsafe_neighbourhood"})
    real = SimpleNamespace(city="zz", data_hash="", simulated=False)
    with pytest.raises(ParameterError, match="simulated and real cities do not serve each other"):
        pooling.others(tmp_path, city=real, panel=panel)
    assert pooling.evidence_prior("", city=real, panel=panel, discount=0.5) == {}


def test_what_the_evidence_changed_is_told_beside_the_result():
    idata = xr.DataTree()
    idata.attrs = {"att_alone": -1.2, "att_alone_sd": 1.0, "att_alone_lower90": -3.0, "att_alone_upper90": 0.6}
    made = pooling.without_evidence({"cards": ["a.json", "b.json"], "discount": 0.5}, idata, lang="en")
    assert made["alone"] == {"mean": -1.2, "sd": 1.0, "lower90": -3.0, "upper90": 0.6}
    assert (
        "other cities (2)" in made["told"]
        and "50 %" in made["told"]
        and "−1.2 points (90 % interval −3.0 to +0.6)" in made["told"]
    )


@pytest.mark.slow
def test_pooled_cards_give_the_mean_that_normal_theory_gives():
    """One precise card per city and no heterogeneity to speak of: the mean is the precision-weighted one, shrunk by N(0, 0.17)."""
    estimate, se = np.array([-0.30, -0.10, -0.22, -0.18]), np.array([0.05, 0.08, 0.06, 0.07])
    pool = pool_of(4, estimate=estimate, se=se)
    idata = pooling.fit_pool(pool, pooling.pool_sampler(pool, tails="normal"))
    posterior = idata["posterior"]
    # Exact on a grid of heterogeneity, the mean integrated out.
    tau = np.linspace(1e-4, 1, 4000)
    spread = se**2 + tau[:, None] ** 2
    precision = (1 / spread).sum(1) + 1 / 0.17**2
    centre = (estimate / spread).sum(1) / precision
    log = (
        -0.5 * np.log(spread).sum(1)
        - 0.5 * np.log(precision)
        - 0.5 * ((estimate**2 / spread).sum(1) - precision * centre**2)
    )
    weight = np.exp(log - log.max() - 0.5 * (tau / 0.17) ** 2)
    mean = np.average(centre, weights=weight)
    sd = np.sqrt(np.average(1 / precision + centre**2, weights=weight) - mean**2)
    assert float(posterior["mu"].mean()) == pytest.approx(mean, abs=0.15 * sd)
    assert float(posterior["mu"].std()) == pytest.approx(sd, rel=0.1)
    assert float(posterior["tau"].mean()) == pytest.approx(np.average(tau, weights=weight), rel=0.1)


def test_kinds_and_scores_enter_only_where_there_are_some():
    scored = {"score": 3.0, "se": 0.3, "conditions": {}}
    both = [
        card("aa", projects=(project("hosts", collective_impact=scored), project("greens", kind="greening"))),
        card("bb", projects=(project("hosts"), project("greens", kind="greening"))),
    ]
    names = {v.name for v in evidence.build_model(cards.stack(cards.choose(both)[0])).unobserved_RVs}
    plain = {v.name for v in evidence.build_model(pool_of(3)).unobserved_RVs}
    assert {"slope", "kind_effect"} <= names and not {"slope", "kind_effect"} & plain
