"""From a model to draws: PyMC defines it, JAX compiles its log-density once for any data of its shape, nutpie samples.

Compiling is the small city's cost: 2 to 3 s this way, minutes by nutpie's own numba (docs/performance.md)."""

import os
import time
import warnings
from functools import cache, partial

# Read when JAX starts: the arrays are small, and threads inside a call cost more than they bring.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import arviz as az
import jax
import numpy as np
import nutpie
import psutil
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from jax.flatten_util import ravel_pytree
from nutpie.compiled_pyfunc import from_pyfunc
from pytensor.compile import SharedVariable, mode
from pytensor.graph import FunctionGraph, clone_replace, graph_inputs
from pytensor.link.jax.dispatch import jax_funcify
from threadpoolctl import threadpool_limits

from workbench import estimands
from workbench.models.perceived import PRIORS, build_model, model_data

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_enable_async_dispatch", False)  # handing each small call to another thread costs more
RHAT, ESS = 1.01, 400
CORES = int(os.environ.get("WORKBENCH_CORES", "0")) or None  # of this machine, where several runs share it
DIAGNOSTICS = ("rhat_max", "ess_bulk_min", "ess_tail_min", "divergences")


def jax_function(model, outputs):
    """A JAX function (values, data) -> outputs; `values` and `data` are dicts by name, unconstrained and pm.Data."""
    shared = [v for v in graph_inputs(outputs) if isinstance(v, SharedVariable)]
    names = [v.name for v in shared if v.name in model.named_vars]  # the others are lengths of dims
    given = {v: v.type(name=v.name) if v.name in names else pt.constant(v.get_value()) for v in shared}
    graph = clone_replace(outputs, given)
    given = [given[v] for v in shared if v.name in names]
    fgraph = FunctionGraph(inputs=[*model.value_vars, *given], outputs=graph, clone=True)
    mode.JAX.optimizer.rewrite(fgraph)
    with warnings.catch_warnings():  # assertions on shapes, which JAX cannot trace
        warnings.filterwarnings("ignore", message="Skipping ", category=UserWarning)
        compiled = jax_funcify(fgraph)
    order = [v.name for v in model.value_vars]
    return lambda values, data: compiled(*(values[n] for n in order), *(data[n] for n in names))


def sampler(
    model, *, draws=1000, tune=300, chains=4, target_accept=0.75, maxdepth=10, many=False, cores=None
):  # fmt: skip
    """A function (seed, **data) -> xr.DataTree of draws: `posterior` (all parameters and deterministics) and
    `sample_stats`; attrs tell settings and seconds. `data` replaces pm.Data of the model by arrays of the same shape.
    It compiles at each call, in 2 s, because the density with its data built in costs less per call; `many` compiles
    once, for many fits. `cores=1` runs one chain after the other, where processes share the cores."""
    logp = jax_function(model, [model.logp()])
    kept = [v for v in model.unobserved_value_vars if not v.name.endswith("__")]
    outputs = jax_function(model, kept)
    start, unravel = ravel_pytree({k: np.asarray(v, float) for k, v in model.initial_point().items()})
    default = {v.name: v.get_value() for v in model.data_vars}

    def density(x, data):
        value, slope = jax.value_and_grad(lambda x: logp(unravel(x), data)[0])(x)
        return jax.numpy.concatenate([value[None], slope])  # one array: a call costs more than the arithmetic

    transform = jax.jit(jax.vmap(jax.vmap(lambda x, data: outputs(unravel(x), data), (0, None)), (0, None)))
    shared = jax.jit(density)
    settings = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept, "maxdepth": maxdepth}

    def sample(seed, **data):
        if unknown := set(data) - set(default):
            raise KeyError(f"the model has no data {sorted(unknown)}; it has {sorted(default)}")
        values = {name: jax.numpy.asarray(data.get(name, default[name])) for name in default}
        began, name = time.perf_counter(), f"NUTS, nutpie {nutpie.__version__}"
        # Data as constants of the compiled function: passing them at each call costs more than compiling again.
        gradient = partial(density, data=values)
        gradient = partial(shared, data=values) if many else jax.jit(gradient).lower(start).compile()
        about = {"sampler": name, "seconds_compile": time.perf_counter() - began}
        named = lambda raw: zip((v.name for v in kept), transform(raw["x"].values, values), strict=True)
        return _draws(model, _compiled(gradient, np.asarray(start)), named, settings, seed=seed, cores=cores, **about)

    return sample


_kept = cache(partial(sampler, many=True, cores=1))  # of a model that serves many panels, compiled once


def small_sampler(model):
    """`build(draws=, tune=, chains=, target_accept=)` -> (seed, **data) -> draws, for a model of a few dozen
    parameters: numba compiles it once, in 15 s, and a fit takes a second, where `sampler` spends its time in calls."""
    began, name = time.perf_counter(), f"NUTS, nutpie {nutpie.__version__}, numba"
    compiled = nutpie.compile_pymc_model(model, backend="numba")
    about = {"sampler": name, "seconds_compile": time.perf_counter() - began}
    named = lambda raw: ((v.name, raw[v.name].values) for v in model.unobserved_RVs)

    def sample(settings, seed, **data):
        return _draws(model, compiled.with_data(**data), named, settings, seed=seed, **about)

    return lambda **settings: partial(sample, settings)


def _compiled(gradient, start):
    """nutpie's view of a log-density: value and gradient at a point, and starting points around the model's own."""

    def density(x, **_):
        both = np.asarray(gradient(x))
        return both[0], both[1:]

    return from_pyfunc(
        len(start), lambda: density, lambda *_: lambda x, **_: {"x": np.array(x)},
        [np.dtype(float)], [(len(start),)], ["x"],
        make_initial_point_fn=lambda seed: start + np.random.default_rng(seed).uniform(-0.5, 0.5, len(start)),
    )  # fmt: skip


def _draws(model, compiled, named, settings, *, seed, cores=None, **about) -> xr.DataTree:
    """Samples a compiled density; `named` makes (name, array) of what it drew. attrs: settings, `about` and seconds."""
    began = time.perf_counter()
    quiet = {"progress_bar": False, "save_warmup": False, "cores": cores or CORES}
    # Chains are the threads: those of BLAS would wait for each other in every small factorisation (docs/performance.md).
    with threadpool_limits(1, user_api="blas"):
        raw = nutpie.sample(compiled, seed=seed, **quiet, **settings)
        posterior = {k: np.asarray(x) for k, x in named(raw["posterior"])}
    stats = raw["sample_stats"].to_dataset()
    dims = {name: list(model.named_vars_to_dims.get(name, ())) for name in posterior}
    coords = {d: list(model.coords[d]) for d in set().union(*dims.values()) if model.coords.get(d) is not None}
    tree = az.from_dict({"posterior": posterior}, dims=dims, coords=coords)
    kept = [k for k in ("n_steps", "diverging", "energy", "step_size", "depth") if k in stats]
    tree["sample_stats"] = xr.DataTree(stats[kept].reset_coords(drop=True))
    tree.attrs = settings | {"seed": seed} | about | {"seconds_sample": time.perf_counter() - began}
    return tree


def fit(panel, model, *, draws=1000, tune=300, chains=4, seed=2026, checks="core", many=False, reruns=2) -> xr.DataTree:
    """Draws of the posterior with `att` (pp) among them, the prior of `delta`, and settings and seconds as attrs;
    repeated (`settle`) at most `reruns` times. What the design leaves open (assumed number of answers, few waves, the
    other prior, a prior from other cities) is fitted too and kept as attrs and `other_prior`; `checks="full"`: the
    effect by every prior. `many` compiles once, for panels of one shape and models built with `keep_empty`."""
    load = time.time() - psutil.Process().create_time()
    data = {k: np.asarray(v) for k, v in model_data(panel, keep_empty=True).items()} if many else {}
    build = partial(_kept if many else sampler, model)
    with_att = lambda tree: tree.assign(att=estimands.att(panel, tree))
    accept = (0.75, 0.9, 0.97)[: reruns + 1]
    idata = settle(build, seed, draws=draws, tune=tune, chains=chains, accept=accept, add=with_att, **data)
    idata["prior"] = xr.DataTree(_prior_delta(model))
    scale = float(model["prior_scale"].get_value()) if "prior_scale" in model.named_vars else PRIORS["flat"]
    name = next(k for k, v in PRIORS.items() if v == scale)
    idata.attrs |= {"model": "M1 perceived", "prior": name, "seconds_load": load}
    began = time.perf_counter()
    _what_if(panel, model, idata, data, build=build, seed=seed)
    for prior in PRIORS if checks == "full" else ():
        same = prior == name and "att_alone" not in idata.attrs
        _note(panel, idata, idata if same else sampler(build_model(panel, prior=prior), draws=400)(seed), prior)
    idata.attrs["seconds_sensitivity"] = time.perf_counter() - began
    idata.attrs["seconds_total"] = time.time() - psutil.Process().create_time()
    return idata


def settle(build, seed, *, draws=1000, tune=300, chains=4, accept=(0.75, 0.9, 0.97), add=lambda x: x, **data):
    """Draws with their diagnostics as attrs; where these fail, again with twice the draws and the next `accept` (attrs
    `reruns`; seconds are those of all). `build(draws=, tune=, chains=, target_accept=)` gives a sampler; `add` puts
    what is to be diagnosed too into the posterior."""
    spent = dict.fromkeys(("seconds_compile", "seconds_sample"), 0.0)
    for rerun, target in enumerate(accept):
        more = 2 if rerun else 1
        sample = build(draws=more * draws, tune=more * tune, chains=chains, target_accept=target)
        idata = sample(seed + rerun, **data)
        idata["posterior"] = xr.DataTree(add(idata["posterior"].to_dataset()))
        idata.attrs |= diagnostics(idata)
        spent = {name: value + idata.attrs[name] for name, value in spent.items()}
        idata.attrs |= spent | ({"reruns": rerun} if rerun else {})
        if sound(diagnostics(idata)) or draws * chains < ESS:
            break
    return idata


def diagnostics(idata) -> dict:
    """Worst rank R-hat, bulk and tail ESS over all sampled parameters and the ATT, and the number of divergences; what
    `fit` found is read from its attrs."""
    if "rhat_max" in idata.attrs:
        return {name: idata.attrs[name] for name in DIAGNOSTICS}
    # Thresholds hold a fixed zero, which has no R-hat; the gaps between them are what is sampled.
    varies = idata["posterior"].to_dataset().drop_vars("cut", errors="ignore")
    ess = {kind: az.ess(varies, method=kind).data_vars.values() for kind in ("bulk", "tail")}
    worst = {"rhat_max": max(float(x.max()) for x in az.rhat(varies).data_vars.values())}
    worst |= {f"ess_{kind}_min": min(float(x.min()) for x in found) for kind, found in ess.items()}
    return worst | {"divergences": int(idata["sample_stats"]["diverging"].sum())}


def sound(found) -> bool:
    """Whether `diagnostics` allow a headline: R-hat, effective samples and divergences within their bounds."""
    enough = min(found["ess_bulk_min"], found["ess_tail_min"]) >= ESS
    return found["rhat_max"] <= RHAT and enough and found["divergences"] == 0


@cache
def _prior_delta(model) -> xr.Dataset:
    """2,000 draws of the effects from their prior, dims (chain, draw, effect)."""
    delta = pm.draw(model["delta"], draws=2000, random_seed=2026, mode="FAST_COMPILE")
    return xr.Dataset({"delta": (("chain", "draw", "effect"), delta[None])}, {"effect": list(model.coords["effect"])})


def _what_if(panel, model, idata, data, *, build, seed):
    """Refits that the report needs: half and double an assumed n, fixed shock correlations, the other prior."""
    given, again = {v.name: v.get_value() for v in model.data_vars} | data, build(draws=400, many=True)
    prior, mean = idata.attrs["prior"], (given["mean_at"], given["mean_scale"]) if "mean_at" in given else None
    if panel.attrs["n_assumed"]:
        for label, factor in (("half_n", 0.5), ("double_n", 2.0)):
            counts = {k: factor * given[k] for k in ("up", "lo", "inner_total", "information")}
            _note(panel, idata, again(seed, **data | counts), label)
    if panel.sizes["wave"] < 4:
        fixed = sampler(build_model(panel, prior=prior, mean=mean, rho=0.5), draws=400, many=True)
        for label, rho in (("rho_0", 0.0), ("rho_05", 0.5), ("rho_09", 0.9)):
            _note(panel, idata, fixed(seed, rho_fixed=np.asarray(rho)), label)
    if mean and mean != (0.0, PRIORS[prior]):
        usual = np.asarray(PRIORS[prior])
        _note(panel, idata, again(seed, **data, mean_at=np.asarray(0.0), mean_scale=usual), "alone")
    elif mean:
        found = estimands.evaluate_verdict_inputs(panel, idata, lang="en")
        rows, other = [found["att"], *found["by_project"].values()], "wide" if prior == "sceptical" else "sceptical"
        # Whether "no worthwhile change" could hold for the whole or a project, so that the other prior must be asked.
        if any(row["p_within_minimum"] >= 0.8 and row["sd"] <= 0.7 * row["prior_sd"] for row in rows):
            scale = np.asarray(PRIORS[other])
            draws = again(seed, **data, prior_scale=scale, mean_scale=scale)["posterior"].to_dataset()
            both = {"att": estimands.att(panel, draws), "att_by_project": estimands.att_by(panel, draws, "project")}
            idata["other_prior"] = xr.DataTree(xr.Dataset(both, attrs={"prior": other}))


def _note(panel, idata, other, label):
    found = estimands.summarise(estimands.att(panel, other["posterior"].to_dataset()))
    idata.attrs |= {f"att_{label}": found["mean"]}
    idata.attrs |= {f"att_{label}_{name}": found[name] for name in ("sd", "lower90", "upper90")}
