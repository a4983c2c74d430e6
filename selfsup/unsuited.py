"""Components of MMEngine and PyTorch that are registered with them and cannot do their work in a run of ours."""

from typing import Any

_NO_VALIDATION = "it waits for the scores of MMEngine's validation loop, which is never run here"

REASONS: dict[str, str] = {
    "torch.optim.optimizer.Optimizer": "it is only what optimizers are made from",
    "torch.optim.lbfgs.LBFGS": "it computes the loss several times per update, and a step here computes it once",
    "torch.optim.sparse_adam.SparseAdam": "it takes sparse gradients, and those of networks for images are dense; "
    "use Adam",
    "torch.optim.Muon": "it takes matrices alone, and networks for images have convolutions and biases",
    "mmengine.optim.optimizer.zero_optimizer.ZeroRedundancyOptimizer": "sharding=dict() splits the state of any "
    "optimizer over the processes",
    "mmengine.optim.scheduler.lr_scheduler.ReduceOnPlateauLR": f"{_NO_VALIDATION}; HalveOnPlateau follows the loss",
    "mmengine.optim.scheduler.momentum_scheduler.ReduceOnPlateauMomentum": _NO_VALIDATION,
    "mmengine.optim.scheduler.param_scheduler.ReduceOnPlateauParamScheduler": f"{_NO_VALIDATION}; HalveOnPlateau "
    "follows the loss",
    "mmengine.hooks.early_stopping_hook.EarlyStoppingHook": _NO_VALIDATION,
    "mmengine.hooks.ema_hook.EMAHook": "its average would be in no checkpoint, no score and no exported backbone; the "
    "methods that have a teacher keep an average themselves",
    "mmengine.hooks.iter_timer_hook.IterTimerHook": "a resumed run starts within an epoch, which it cannot; "
    "metrics.jsonl has step_seconds and data_seconds",
    "mmengine.hooks.logger_hook.LoggerHook": "ProgressHook shows and keeps a run's numbers",
    "mmengine.hooks.naive_visualization_hook.NaiveVisualizationHook": "it draws what MMEngine's test loop predicts, "
    "which is never run here",
    "mmengine.hooks.test_time_aug_hook.PrepareTTAHook": "it prepares MMEngine's test loop, which is never run here",
    "mmengine.hooks.sampler_seed_hook.DistSamplerSeedHook": "it reseeds a sampler of MMEngine's, and a run here has "
    "its own",
    "mmengine.hooks.profiler_hook.NPUProfilerHook": "it needs an NPU, and a run here is on CPUs or GPUs",
}
"""Why each cannot be used, by the dotted name of its class."""


def why_unsuited(component: Any) -> str:
    """Why a class cannot do its work in a run; empty if nothing is known against it."""
    return REASONS.get(f"{getattr(component, '__module__', '')}.{getattr(component, '__qualname__', '')}", "")
