"""The rules of a split, transcribed image by image from the module's text."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence


def split_by_the_rules(
    names: Sequence[str], labels: Sequence[int], groups: Sequence[int] | None, *, val: float, test: float, cap: int
) -> dict[str, set[int]]:
    """The images of val, test and copies (those without a label whose group is held out), for seed 3."""

    def key(index: int) -> str:
        return names[index] if groups is None else f"group {groups[index]}"

    def h(text: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"3\n{text}".encode(), digest_size=8).digest(), "big")

    images = defaultdict(list)
    for index, label in enumerate(labels):
        if label >= 0:
            images[key(index)].append(index)
    classes = defaultdict(list)
    for text in sorted(images, key=h):
        counts = Counter(labels[index] for index in images[text])
        classes[min(counts, key=lambda label: (-counts[label], label))].append(text)
    quantiles: dict[str, dict[str, float]] = {"test": {}, "val": {}}
    for keys in classes.values():
        m = len(keys)
        if m == 1:
            continue
        tests = 1 if m == 2 else min(max(round(test * m), 1), m - 2)
        vals = 0 if m == 2 else min(max(round(val * m), 1), m - 1 - tests)
        quantiles["test"] |= {text: (rank + 0.5) / tests for rank, text in enumerate(keys[:tests])}
        quantiles["val"] |= {text: (rank + 0.5) / vals for rank, text in enumerate(keys[tests : tests + vals])}
    parts: dict[str, set[int]] = {"val": set(), "test": set(), "copies": set()}
    for part, found in quantiles.items():
        for text in sorted(found, key=lambda text: (found[text], h(text))):
            if parts[part] and len(parts[part]) + len(images[text]) > cap:
                break
            parts[part] |= set(images[text])
    out = parts["val"] | parts["test"]
    if groups is not None:
        held = {groups[index] for index in out}
        parts["copies"] = {index for index in range(len(names)) if groups[index] in held} - out
    return parts
