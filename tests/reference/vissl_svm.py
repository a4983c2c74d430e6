"""Average precision as VISSL's SVM evaluation and VOC2007's development kit define it, in plain loops.

Source: VISSL, vissl/utils/svm_utils/evaluate.py (the area); VOCevaldet.m of VOC2007 (the eleven points).
"""


def curve(known: list[int], scores: list[float]) -> list[tuple[float, float]]:
    """Recall and precision after each image, the most likely first; images marked -1 are left out."""
    counted = sorted((-score, truth) for truth, score in zip(known, scores, strict=True) if truth != -1)
    total, hits, points = sum(truth for _, truth in counted), 0, []
    for place, (_, truth) in enumerate(counted, start=1):
        hits += truth
        points.append((hits / total, hits / place))
    return points


def area_by_vissl(known: list[int], scores: list[float]) -> float:
    """The area under precision that is made monotone from the right, between changes of recall."""
    points = [(0.0, 0.0), *curve(known, scores), (1.0, 0.0)]
    area = 0.0
    for place in range(1, len(points)):
        width = points[place][0] - points[place - 1][0]
        area += width * max(precision for _, precision in points[place:])
    return area


def eleven_points(known: list[int], scores: list[float]) -> float:
    """The mean over the recalls 0, 0.1 to 1 of the greatest precision at that recall or beyond."""
    points = curve(known, scores)
    total = sum(truth for truth in known if truth == 1)
    found = 0.0
    for tenth in range(11):
        # recall is hits / total: compare whole numbers, for 3 / 10 is not 0.3
        beyond = [precision for recall, precision in points if round(recall * total) * 10 >= tenth * total]
        found += max(beyond, default=0.0) / 11
    return found
