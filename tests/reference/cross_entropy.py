"""Classification losses image by image and class by class in float64, from their definitions."""

import numpy as np


def softmax_by_the_definition(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Scores (B, C) to probabilities (B, C)."""
    probabilities = np.zeros(scores.shape)
    for b, row in enumerate(scores):
        exponentials = [np.exp(float(score) / temperature) for score in row]
        probabilities[b] = [value / sum(exponentials) for value in exponentials]
    return probabilities


def cross_entropy_by_the_definition(scores: np.ndarray, shares: np.ndarray, label_smoothing: float = 0.0) -> float:
    """Scores and target shares, both (B, C); the mean over the batch."""
    batch, classes = scores.shape
    probabilities = softmax_by_the_definition(scores)
    total = 0.0
    for b in range(batch):
        for c in range(classes):
            share = (1 - label_smoothing) * float(shares[b, c]) + label_smoothing / classes
            total -= share * float(np.log(probabilities[b, c]))
    return total / batch


def sigmoid_cross_entropy_by_the_definition(scores: np.ndarray, shares: np.ndarray) -> float:
    """Scores and target shares, both (B, C); summed over the classes, the mean over the batch."""
    batch, classes = scores.shape
    total = 0.0
    for b in range(batch):
        for c in range(classes):
            probability = 1 / (1 + np.exp(-float(scores[b, c])))
            total -= float(shares[b, c] * np.log(probability) + (1 - shares[b, c]) * np.log(1 - probability))
    return total / batch
