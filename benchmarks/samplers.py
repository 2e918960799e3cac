"""The same model and data through three samplers, from a built model to draws: what does a fit cost?

    .venv/bin/python benchmarks/samplers.py [N] [ENGINE ...]     engines: workbench, numpyro, nutpie-numba

Each engine runs in its own process, so that it pays its own compilation. numpyro is not a dependency of the workbench:
install it by hand into a copy of the environment to see its line; it is left out with a word when absent.
"""

import importlib.util
import subprocess
import sys
import time
import warnings

DRAWS, TUNE, CHAINS = 800, 300, 4


def run(engine, n):
    warnings.simplefilter("ignore")
    import arviz as az

    from workbench.inference import sampler
    from workbench.models.perceived import build_model
    from workbench.panel import build_panel
    from workbench.simulate import draw_city

    model = build_model(build_panel(draw_city(respondents=n, seed=1)[0]))
    names = [v.name for v in model.free_RVs]
    began = time.perf_counter()
    if engine == "workbench":
        idata = sampler(model, draws=DRAWS, tune=TUNE, chains=CHAINS)(1)
    elif engine == "numpyro":
        import pymc as pm

        with model:
            idata = pm.sample(DRAWS, tune=TUNE, chains=CHAINS, nuts_sampler="numpyro", random_seed=1, progressbar=False,
                              target_accept=0.75, compute_convergence_checks=False)  # fmt: skip
    else:
        import nutpie

        compiled = nutpie.compile_pymc_model(model, var_names=names)
        print(f"  compiled after {time.perf_counter() - began:.1f} s", flush=True)
        idata = nutpie.sample(
            compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, seed=1, progress_bar=False, target_accept=0.75
        )
    seconds = time.perf_counter() - began
    posterior = idata["posterior"].to_dataset()[names]
    worst = min(float(x.min()) for x in az.ess(posterior).data_vars.values())
    divergences = int(idata["sample_stats"]["diverging"].sum())
    print(f"{engine}, {n} respondents: {seconds:.1f} s, worst bulk ESS {worst:.0f}, {worst / seconds:.0f} per second, "
          f"{divergences} divergences", flush=True)  # fmt: skip


def main(n, engines):
    for engine in engines:
        if engine == "numpyro" and importlib.util.find_spec("numpyro") is None:
            print("numpyro: not installed, left out")
            continue
        try:
            subprocess.run([sys.executable, __file__, "--run", engine, n], check=False, timeout=600)
        except subprocess.TimeoutExpired:
            print(f"{engine}: stopped after 600 s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], int(sys.argv[3]))
    else:
        main(*(sys.argv[1:2] or ["2000"]), sys.argv[2:] or ["workbench", "numpyro", "nutpie-numba"])
