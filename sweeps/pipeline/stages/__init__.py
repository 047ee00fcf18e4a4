"""The stages of a sweep, a module each; `sweeps.pipeline.sweep` runs them in order.

A stage is one function of the `RunningSweep` and of what earlier stages returned. It trains by
`RunningSweep.executor`, which shows and records its runs under the stage's role, and leaves out
those that `SweepContext.ended_runs` names, so that a resumed sweep trains none twice. A stage that
takes long also has a function `plan`, which returns its `StagePlan` for `--dry-run`; it is listed
in `sweeps.pipeline.dry_run.PLANS`.
"""
