"""The 45 penalties of SimCLR's logistic regression, ours and scikit-learn's, on the same features.

    python -m benchmarks.logistic                          # 5,000 x 2,048 features, 20 classes
    python -m benchmarks.logistic --images 1500 --dim 512

Both start from the solution before, from the largest penalty down, in float64, in this process, one after the other.

- Time: scikit-learn's search with ``tol=--tolerance`` (1e-10), which often ends before, where its loss no longer falls;
  ours until the Euclidean norm of the gradient is as small as where scikit-learn has stopped, penalty by penalty, both
  computed alike, of the features as they are.
- Losses: ours until they are within 1e-7 of the minimum, which the gradient proves. Where scikit-learn's are higher, it
  has stopped short of it.

It fails if a loss of ours is above scikit-learn's by more than 1e-6 relative, if accuracies differ by more than 0.1
point, or if ours is not 5 times faster.
"""

import argparse
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from selfsup.evaluation.extraction.features import Features, Stacked
from selfsup.evaluation.protocols.logistic import PENALTIES
from selfsup.evaluation.protocols.softmax_regression import SoftmaxProblem, solve, solve_path

TEST = 2000


def drawn(images: int, dim: int, classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features as those of a ReLU network: not negative, with a spectrum that decays; classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    centers = 0.45 * rng.normal(size=(classes, 128))
    latent = centers[labels] + rng.normal(size=(images, 128)) * np.geomspace(3, 0.3, 128)
    hidden = np.maximum(latent @ rng.normal(size=(128, 512)) / 128**0.5, 0)
    outputs = hidden @ rng.normal(size=(512, dim)) / 512**0.5 + 0.2 * rng.normal(size=(images, dim))
    found = np.maximum(outputs, 0)
    return (0.45 * found / found.mean()).astype(np.float32), labels


def main() -> int:
    """Print a line for each penalty and the ratio; 0 when all targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--tolerance", type=float, default=1e-10)
    parser.add_argument("--every", type=int, default=1, help="only every so many of the 45 penalties")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn on searches that end early
    features, labels = drawn(options.images + TEST, options.dim, options.classes)
    train, test = features[: options.images], features[options.images :]
    targets, wanted = labels[: options.images], labels[options.images :]
    penalties = PENALTIES[:: options.every]

    inputs, means = train.astype(np.float64), [l2 / len(train) for l2 in penalties]
    reference = LogisticRegression(tol=options.tolerance, max_iter=1_000_000, warm_start=True)
    theirs, found, gradients = 0.0, [], []
    for l2 in penalties:
        start = time.perf_counter()
        reference.set_params(C=1 / l2).fit(inputs, targets)
        theirs += time.perf_counter() - start
        weight, bias = torch.from_numpy(reference.coef_.copy()), torch.from_numpy(reference.intercept_.copy())
        loss, gradient = mean_loss(torch.from_numpy(inputs), torch.from_numpy(targets), weight, bias, l2 / len(train))
        gradients.append(gradient)
        found.append((loss, reference.predict(test.astype(np.float64)), int(reference.n_iter_[0])))
    print(f"scikit-learn: {theirs:.1f} s, {sum(each[2] for each in found):,} iterations", flush=True)

    start = time.perf_counter()
    problem = problem_of(train, targets)
    passes = as_close(problem, torch.from_numpy(inputs), torch.from_numpy(targets), means, gradients)
    ours = time.perf_counter() - start
    print(f"ours, to the same gradients: {ours:.1f} s, {passes:,} passes; {theirs / ours:.1f} times faster (target 5)")

    reached, start = True, time.perf_counter()
    problem = problem_of(train, targets)
    print("| l2 | loss, ours | loss, scikit-learn | relative difference | accuracy, ours | scikit-learn | gradient |")
    print("|---|---|---|---|---|---|---|")
    exact = solve_path(problem, means, tolerance=options.tolerance, gap=1e-7)
    for l2, solution, (loss, predicted, _), gradient in zip(penalties, exact, found, gradients, strict=True):
        classifier = problem.classifier(solution.weight, solution.bias)
        right = (classifier.predict(torch.from_numpy(test)).numpy() == wanted).mean()
        expected = (predicted == wanted).mean()
        difference = solution.loss / loss - 1
        reached &= solution.converged and difference <= 1e-6 and abs(right - expected) <= 1e-3
        print(
            f"| {l2:.3g} | {solution.loss:.10g} | {loss:.10g} | {difference:.1e} | {right:.4f} | {expected:.4f} "
            f"| {gradient:.1e} |",
            flush=True,
        )
    print(f"ours, to the minimum: {time.perf_counter() - start:.1f} s")
    return 0 if reached and theirs >= 5 * ours else 1


def problem_of(train: np.ndarray, targets: np.ndarray) -> SoftmaxProblem:
    """Ours."""
    rows = Stacked(Features(torch.from_numpy(train), torch.arange(len(train)), torch.from_numpy(targets)))
    return SoftmaxProblem(rows, standardize=False, held=True)


def as_close(
    problem: SoftmaxProblem, inputs: torch.Tensor, targets: torch.Tensor, means: list[float], gradients: list[float]
) -> int:
    """Solve for each penalty until the gradient's norm is at most the given one; the passes that it took.

    The search itself looks at the gradient about the features' mean; where that was not enough, it resumes.

    Raises:
        RuntimeError: if it cannot come so close.
    """
    passes, start = 0, problem.start()
    for penalty, allowed in zip(means, gradients, strict=True):
        found, tolerance = float("inf"), allowed
        while found > allowed:
            solution = solve(problem, penalty=penalty, tolerance=tolerance, start=start)
            if not solution.converged:
                raise RuntimeError(f"penalty {penalty:g}: the search ends at a gradient of {solution.gradient:g}")
            start = solution.weight, solution.bias
            classifier = problem.classifier(*start)
            bias = classifier.bias - classifier.weight @ classifier.mean
            found = mean_loss(inputs, targets, classifier.weight, bias, penalty)[1]
            passes += solution.evaluations + 1
            tolerance = min(tolerance, solution.gradient) * allowed / found / 2
    return passes


def mean_loss(
    inputs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, penalty: float
) -> tuple[float, float]:
    """The penalized mean loss, and the Euclidean norm of its gradient."""
    weight, bias = weight.requires_grad_(), bias.requires_grad_()
    loss = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, targets) + penalty / 2 * weight.square().sum()
    by_weight, by_bias = torch.autograd.grad(loss, [weight, bias])
    return loss.item(), float((by_weight.square().sum() + by_bias.square().sum()).sqrt())


if __name__ == "__main__":
    sys.exit(main())
