import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from selfsup.errors import ConfigError
from selfsup.evaluation import KNN, RawPixels, Representation, Task, VisslKNN
from selfsup.evaluation.protocols.knn import nearest, votes
from tests.evaluation.pictures import SMALL, Blobs, known
from tests.reference import record


def predict(knn: KNN, train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    return knn.fit(known(train, labels), None)(test).argmax(dim=1)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_votes_agree_with_the_papers_rule(k: int, temperature: float) -> None:
    case = record("eval/knn")
    similarities = torch.tensor([case["input"]["sims"]], dtype=torch.float64)
    labels = torch.tensor(case["input"]["labels"])
    expected = case["expected"][f"k{k}_T{temperature}"]
    found, neighbors = nearest(torch.ones(1, 1, dtype=torch.float64), similarities.T, k)
    relative = votes(found, labels[neighbors], 3, temperature)
    absolute = relative * np.exp(max(case["input"]["sims"]) / temperature)
    torch.testing.assert_close(absolute[0], torch.tensor(expected["votes"], dtype=torch.float64), rtol=1e-6, atol=0)
    assert int(relative.argmax()) == expected["pred"]


@pytest.mark.parametrize("normalize", [True, False])
def test_agrees_with_scikit_learn(normalize: bool) -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(300, 12)), rng.normal(size=(80, 12))
    labels = rng.integers(0, 5, 300)
    metric_train, metric_test = train, test
    if normalize:
        metric_train = train / np.linalg.norm(train, axis=1, keepdims=True)
        metric_test = test / np.linalg.norm(test, axis=1, keepdims=True)
    reference = KNeighborsClassifier(
        20,
        algorithm="brute",
        metric=lambda a, b: 100 - a @ b,
        weights=lambda distances: np.exp((100 - distances) / 0.5),
    ).fit(metric_train, labels)
    knn = KNN(normalize=normalize, temperature=0.5)
    mine = predict(knn, torch.tensor(train), torch.tensor(labels), torch.tensor(test))
    assert mine.tolist() == reference.predict(metric_test).tolist()


def test_neighbors_do_not_depend_on_the_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randint(-2, 3, (n, 3), generator=generator).double() for n in (37, 211))
    whole = nearest(queries, keys, 9)
    for block in (1, 5, 64, 211):
        parts = nearest(queries, keys, 9, query_block=block, key_block=block)
        assert torch.equal(parts[0], whole[0])
        assert torch.equal(parts[1], whole[1])


def test_equal_similarities_go_to_the_earlier_image() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randint(-1, 2, (n, 3), generator=generator).double() for n in (40, 300))
    similarities = (queries @ keys.T).numpy()
    expected = np.argsort(-similarities, axis=1, kind="stable")[:, :7]
    assert nearest(queries, keys, 7)[1].tolist() == expected.tolist()


def test_equal_votes_go_to_the_smaller_class() -> None:
    train = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert predict(KNN(k=2), train, torch.tensor([4, 2]), torch.tensor([[1.0, 0.0]])).tolist() == [2]


def test_a_class_without_a_vote_is_not_among_the_first_five() -> None:
    train, test = (Blobs(80, num_classes=8, noise=120, seed=n, prefix=str(n)) for n in (0, 1))
    result = KNN(k=1).evaluate(Representation(RawPixels(2), SMALL), Task(train=train, test=test))
    assert result.scores["top5"] == result.scores["top1"] and result.scores["top1"].value < 1
    assert result.predictions is not None and (result.predictions.confidence == 1).all()


def test_more_neighbors_than_images_means_all_of_them() -> None:
    similarities, where = nearest(torch.ones(2, 1), torch.tensor([[1.0], [3.0]]), 50)
    assert where.tolist() == [[1, 0], [1, 0]]
    assert similarities.tolist() == [[3.0, 1.0], [3.0, 1.0]]


def test_similarities_in_the_thousands_do_not_overflow() -> None:
    train = torch.tensor([[100.0], [99.0], [99.5]])
    knn = KNN(k=3, temperature=0.1, normalize=False)
    predictions = predict(knn, train, torch.tensor([1, 0, 0]), torch.tensor([[80.0]]))
    assert predictions.tolist() == [1]


def test_a_feature_is_its_own_nearest_neighbor_and_val_votes_too() -> None:
    features, labels = torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), torch.arange(30)
    halves = known(features[:15], labels[:15]), known(features[15:], labels[15:])
    assert torch.equal(KNN(k=1).fit(*halves)(features).argmax(dim=1), labels)


def test_colors_tell_the_blobs_apart_and_shuffled_labels_do_not() -> None:
    task = Task(train=Blobs(90), test=Blobs(45, seed=1, prefix="test"))
    assert KNN().evaluate(Representation(RawPixels(2), SMALL), task).scores["top1"].value > 0.95
    task.test.labels = np.roll(task.test.labels, 1)
    assert KNN().evaluate(Representation(RawPixels(2), SMALL), task).scores["top1"].value < 0.05


@pytest.mark.parametrize("name, value", [("k", 0), ("temperature", 0.0)])
def test_senseless_numbers_are_rejected(name: str, value: float) -> None:
    with pytest.raises(ConfigError) as raised:
        KNN(**{name: value})
    assert str(raised.value) == f"{name}: must be > 0, got {value}"


def test_is_brute_force_in_float64_wherever_the_margin_is_clear() -> None:
    rng = np.random.default_rng(0)
    keys, queries = rng.normal(size=(700, 64)).astype(np.float32), rng.normal(size=(90, 64)).astype(np.float32)
    units = [part / np.linalg.norm(part.astype(np.float64), axis=1, keepdims=True) for part in (queries, keys)]
    expected = np.sort(-(units[0] @ units[1].T), axis=1)
    order = np.argsort(-(units[0] @ units[1].T), axis=1, kind="stable")[:, :10]
    clear = np.diff(expected[:, :11], axis=1).min(axis=1) > 1e-5
    blocks = torch.tensor(keys).split(100)
    similarities, found = nearest(torch.tensor(queries), blocks, 10, normalize=True, query_block=13)
    assert clear.sum() > 60
    assert np.array_equal(found.numpy()[clear], order[clear])
    np.testing.assert_allclose(similarities, -expected[:, :10], atol=1e-6)


def test_faiss_and_torch_agree_ties_included(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randint(-1, 2, (n, 4), generator=generator).float() for n in (60, 500))
    with_faiss = nearest(queries, keys, 7, key_block=120)
    monkeypatch.setattr("selfsup.evaluation.protocols.knn._faiss", lambda: None)
    plain = nearest(queries, keys, 7, key_block=120)
    assert torch.equal(with_faiss[0], plain[0]) and torch.equal(with_faiss[1], plain[1])


def test_vissls_variant_lets_long_features_outvote_near_ones() -> None:
    train, labels = known(torch.tensor([[1.0, 0.0], [5.0, 5.0]]), torch.tensor([0, 1])), None
    query = torch.tensor([[1.0, 0.1]])
    assert KNN(k=1).fit(train, labels)(query).argmax(dim=1).tolist() == [0]
    assert VisslKNN(k=1).fit(train, labels)(query).argmax(dim=1).tolist() == [1]
    assert (KNN().title, VisslKNN().title) == ("knn20_t0.07", "knn200_t0.1_unnormalized")
    assert "200" in VisslKNN().fit(train, labels).notes[0]
