"""The run's numbers to Weights & Biases, MLflow or Aim, through MMEngine's visualizer backends."""

import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.visualization.vis_backend import AimVisBackend, MLflowVisBackend, WandbVisBackend

from selfsup.config import plain
from selfsup.errors import ConfigError, nearest, require
from selfsup.ops.dist import is_main
from selfsup.registry import HOOKS

BACKENDS: dict[str, Any] = {"wandb": WandbVisBackend, "mlflow": MLflowVisBackend, "aim": AimVisBackend}


@HOOKS.register_module()
class TrackersHook(Hook):
    """Copy every number of the metrics log, and the config, to one tracker or several.

    Each takes the arguments of MMEngine's backend for it, ``dict()`` for none. What a tracker cannot take stops the
    copy and not the run. A resumed run goes on in the same run of Weights & Biases.

    Args:
        wandb: such as ``dict(init_kwargs=dict(project="seer"))``.
        mlflow: such as ``dict(tracking_uri="http://host:5000", exp_name="seer")``.
        aim: such as ``dict(repo="/path", experiment="seer")`` in ``init_kwargs``.

    Raises:
        ConfigError: if none is named, an argument is unknown, or the package of one is not installed.
    """

    priority = "VERY_HIGH"  # before the first number is written

    def __init__(
        self,
        *,
        wandb: Mapping[str, Any] | None = None,
        mlflow: Mapping[str, Any] | None = None,
        aim: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"wandb": wandb, "mlflow": mlflow, "aim": aim}
        self.given = {name: dict(arguments) for name, arguments in given.items() if arguments is not None}
        require(self.given, "", "names no tracker", expected=f"give one of {', '.join(BACKENDS)}")
        for name, arguments in self.given.items():
            known = [each for each in inspect.signature(BACKENDS[name]).parameters if each != "save_dir"]
            for argument in arguments:
                right = nearest(argument, known)
                require(argument in known, f"{name}.{argument}", "is no argument of the tracker", expected=right)
            if importlib.util.find_spec(name) is None:
                raise ConfigError.at(name, "the package is not installed", expected=f"pip install {name}")
        self._backends: dict[str, Any] = {}

    def before_train(self, runner: Any) -> None:
        """Open the trackers, on the main process."""
        if not is_main():
            return
        for name, arguments in self.given.items():
            if name == "wandb":
                started = {"id": runner.run_id, "resume": "allow", "name": Path(runner.work_dir).name}
                arguments = {**arguments, "init_kwargs": started | dict(arguments.get("init_kwargs") or {})}
            backend = BACKENDS[name](save_dir=str(Path(runner.work_dir, name)), **arguments)
            backend.add_config(Config(plain(runner.recipe.to_dict())))
            self._backends[name] = backend
        runner.metrics_log.copies.append(lambda step, values: self._write(runner, step, values))

    def after_run(self, runner: Any) -> None:
        """Close them."""
        for backend in self._backends.values():
            backend.close()

    def _write(self, runner: Any, step: int, values: Mapping[str, float]) -> None:
        for name, backend in list(self._backends.items()):
            try:
                backend.add_scalars(dict(values), step=step)
            except Exception as error:  # of a server, a network, a disk: whatever the tracker has
                del self._backends[name]
                runner.logger.warning(f"{name} takes no more numbers of this run ({error}); metrics.jsonl has all")
