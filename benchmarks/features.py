"""ResNet-50 features of photographs: what users' loops do, and the toolkit, each in a process of its own.

    python -m benchmarks.features FOLDER                    # 200 of its photographs, three rounds
    python -m benchmarks.features FOLDER --count 200 --rounds 5

The other side is torchvision's ResNet-50 in float32 behind a DataLoader with two workers, PIL and torchvision's
transforms, untuned. Ours is the same weights through :class:`~selfsup.evaluation.Representation` with its defaults,
precision chosen and checked on the way. A process is timed from the first image to the last feature, imports and the
making of the network apart. It fails if the ratio misses its target (4 with bf16 units, 2 without) or a cosine with our
own float32 features is below 0.999.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

BATCH = 32
TARGETS = {True: 4.0, False: 2.0}
SUFFIXES = {".jpg", ".jpeg", ".png"}


def photographs(folder: Path, count: int) -> list[str]:
    """The first files, by name."""
    return [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES][:count]


def theirs(files: list[str]) -> dict[str, float | str]:
    """torchvision, PIL and a DataLoader."""
    import torch
    import torchvision
    from PIL import Image
    from torchvision import transforms

    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    network.fc = torch.nn.Identity()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shown = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )

    class Photographs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            return shown(Image.open(files[index]).convert("RGB"))

    start = time.perf_counter()
    with torch.no_grad():
        for images in torch.utils.data.DataLoader(Photographs(), batch_size=BATCH, num_workers=2):
            network(images)
    return {"seconds": time.perf_counter() - start}


def ours(files: list[str]) -> dict[str, float | str]:
    """The toolkit, and how near its features are to those in float32."""
    import torch

    from selfsup.backbones import ResNet
    from selfsup.data import ImageList, Subset
    from selfsup.evaluation import Representation

    torch.manual_seed(0)
    network = ResNet(50).eval()
    source = Subset(ImageList(Path(files[0]).parent), count=len(files))
    start = time.perf_counter()
    representation = Representation(network, batch_size=BATCH)
    found = representation.features(source).features
    seconds = time.perf_counter() - start
    exact = Representation(network, batch_size=BATCH, precision="fp32").features(source).features
    cosine = torch.nn.functional.cosine_similarity(found, exact).min().item()
    return {"seconds": seconds, "cosine": cosine, "precision": representation.precision}


def child(side: str, folder: Path, count: int) -> dict[str, float | str]:
    """What a side finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.features", str(folder), "--count", str(count), "--side", side]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def main() -> int:
    """Print the ratio; 0 when the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of photographs")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn (default: %(default)s)")
    parser.add_argument("--side", choices=("theirs", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        files = photographs(options.folder, options.count)
        print(json.dumps({"theirs": theirs, "ours": ours}[options.side](files)))
        return 0
    runs: dict[str, list[dict[str, float | str]]] = {"theirs": [], "ours": []}
    for _ in range(options.rounds):
        for side, found in runs.items():
            found.append(child(side, options.folder, options.count))
            print(f"{side}: {found[-1]}", file=sys.stderr)
    speed = {
        side: options.count / statistics.median(float(run["seconds"]) for run in found) for side, found in runs.items()
    }
    ratio, cosine = speed["ours"] / speed["theirs"], min(float(run["cosine"]) for run in runs["ours"])
    target = TARGETS[runs["ours"][0]["precision"] == "bf16"]
    print(
        f"{options.count} photographs: torchvision loop {speed['theirs']:.1f} img/s, ours {speed['ours']:.1f} "
        f"in {runs['ours'][0]['precision']}: {ratio:.2f} times (target {target:g}), lowest cosine {cosine:.5f}"
    )
    return 0 if ratio >= target and cosine >= 0.999 else 1


if __name__ == "__main__":
    sys.exit(main())
