"""The makers: each learns, is shipped, makes pictures of the right form, the same again, and keeps them."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from detector import generators, makers, making, teaching
from detector.critics import PlainCritic, ResidualCritic, disguise
from detector.making import MAKERS, NOTHING, load_maker, made_pictures, teach_maker, to_pixels
from detector.progress import InputError
from detector.teaching import Contest, Photographs, counted, rate, to_signed

TINY = {
    "gan_transposed": partial(generators.TransposedGenerator, 16),
    "gan_nearest": partial(generators.ResidualGenerator, (8, 8, 8, 8)),
    "gan_style": partial(generators.StyleGenerator, (8, 8, 8, 8)),
    "gan_shuffled": partial(generators.ShuffledGenerator, (8, 8, 8, 8)),
    "denoiser": partial(makers.Denoiser, (8, 8, 8), blocks=1),
}
CRITICS = [partial(PlainCritic, 4), partial(ResidualCritic, (4, 4, 4))]


@pytest.fixture
def photographs(standin) -> torch.Tensor:
    return standin.train.pixels[standin.train.labels == 0][:200]


@pytest.fixture
def brief(monkeypatch):
    """Makers with few weights, which learn and make little."""
    tiny = {
        name: replace(maker, network=TINY.get(name, maker.network), steps=2, batch=4) for name, maker in MAKERS.items()
    }
    monkeypatch.setattr(making, "MADE", 130)
    monkeypatch.setattr(making, "MAKERS", tiny)


def last(steps: teaching.Steps) -> nn.Module:
    """The network after all steps."""
    *_, (network, _) = steps
    return network.eval()


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_are_made_kept_and_made_alike(name, photographs, brief, monkeypatch, tmp_path):
    teach_maker(name, photographs, tmp_path / f"{name}.safetensors")
    pixels, rows = made_pictures(name, photographs, tmp_path / "first", tmp_path)
    assert pixels.shape == (130, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    of_noise, of_photographs = (rows == NOTHING).sum(), rows[rows != NOTHING]
    assert of_noise == (0 if "autoencoder" in name else 130 if "gan" in name else 65)
    assert len(of_photographs.unique()) == 130 - of_noise
    assert torch.equal(rows, rows.sort().values)
    again, _ = made_pictures(name, photographs, tmp_path / "second", tmp_path)
    assert torch.equal(pixels, again)
    monkeypatch.setattr(making, "_make", lambda *_: pytest.fail("made again"))
    kept, _ = made_pictures(name, photographs, tmp_path / "first", tmp_path)
    assert torch.equal(pixels, kept)


@pytest.mark.parametrize(("name", "made"), [("denoiser", 2), ("gan_nearest", 1)])
def test_of_other_photographs_they_are_made_anew_where_they_take_any(
    name, made, photographs, brief, monkeypatch, tmp_path
):
    teach_maker(name, photographs, tmp_path / f"{name}.safetensors")
    nothing = {"pixels": torch.zeros(1), "rows": torch.zeros(1)}
    calls = []
    monkeypatch.setattr(making, "_make", lambda *_: calls.append(1) or nothing)
    for given in (photographs, photographs, photographs.flip(0)):
        made_pictures(name, given, tmp_path / "made", tmp_path)
    assert len(calls) == made


def test_a_maker_taught_otherwise_makes_anew(photographs, brief, tmp_path):
    made = []
    for seed in (0, 1):
        teach_maker("gan_style", photographs, tmp_path / "gan_style.safetensors", seed=seed)
        made.append(made_pictures("gan_style", photographs, tmp_path / "made", tmp_path)[0])
    assert not torch.equal(*made)


def test_the_file_says_how_it_was_taught(photographs, brief, tmp_path):
    path = tmp_path / "maker.safetensors"
    teach_maker("gan_nearest", photographs, path, steps=3, seed=5)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16, torch.int64}  # noqa: SIM118
    assert facts["maker"] == "gan_nearest"
    assert '"steps": 3, "batch": 4, "seed": 5' in facts["recipe"]
    assert "hinge" in facts["recipe"]
    assert facts["photographs"].startswith("200, ")
    assert torch.__version__ in facts["versions"]


def test_an_absent_and_another_makers_file_are_named(photographs, brief, tmp_path):
    with pytest.raises(InputError, match=r"there is no maker at .*denoiser"):
        made_pictures("denoiser", photographs, tmp_path, tmp_path)
    path = tmp_path / "denoiser.safetensors"
    teach_maker("gan_nearest", photographs, path)
    with pytest.raises(InputError, match="not a whole denoiser"):
        load_maker("denoiser", path)


def test_what_diverged_is_not_written(photographs, brief, monkeypatch, tmp_path):
    monkeypatch.setattr(teaching.F, "mse_loss", lambda guess, _: guess.sum() * float("nan"))
    with pytest.raises(InputError, match="diverged by step 2"):
        teach_maker("denoiser", photographs, tmp_path / "denoiser.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_autoencoder_learns_to_give_back(photographs):
    maker = MAKERS["autoencoder_nearest"]
    torch.manual_seed(0)
    network, real = maker.network(), to_signed(photographs)
    before = F.l1_loss(network(real), real).item()
    learnt = last(maker.teach(network, Photographs(photographs, 0, batch=32), counted(30)))
    assert F.l1_loss(learnt.train()(real), real) < 0.7 * before


@pytest.mark.parametrize("critic", CRITICS, ids=["plain", "residual"])
@pytest.mark.parametrize(
    ("loss", "penalty"), [("hinge", "none"), ("logistic", "photographs"), ("wasserstein", "between")]
)
def test_a_generator_learns_the_colour_of_pictures(critic, loss, penalty):
    """Of pictures all of one colour, from grey: nothing else is to be learnt, so that few steps show it."""
    colour = torch.tensor([230, 60, 128], dtype=torch.uint8)[:, None, None].expand(8, 3, 32, 32)
    torch.manual_seed(0)
    network = generators.TransposedGenerator(16)
    contest = Contest(
        partial(critic, spectral=penalty == "none"), loss, penalty, 1.0, (5e-3,) * 2, disguised=False, decay=0.95
    )
    learnt = last(teaching.teach_generator(network, Photographs(colour, 0, batch=8), counted(60), contest))
    red, green, _ = learnt.draw(16, torch.Generator().manual_seed(0)).mean((0, 2, 3))
    assert red > 0.2
    assert green < -0.2


def test_a_slope_is_a_gradients_length():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    slope = teaching._slope(critic, torch.randn(5, 3, 32, 32))
    torch.testing.assert_close(slope, critic[1].weight.norm().expand(5))


def test_a_spectral_critic_keeps_its_largest_singular_value_at_one():
    torch.manual_seed(0)
    critic = PlainCritic(4, spectral=True)
    for _ in range(200):
        critic(torch.zeros(1, 3, 32, 32))
    for layer in critic.layers:
        if hasattr(layer, "weight"):
            torch.testing.assert_close(
                torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item(), 1.0, atol=0.02, rtol=0
            )


def test_a_disguise_moves_hides_and_passes_the_gradient():
    pictures = torch.rand(64, 3, 32, 32).add(1).requires_grad_(True)
    disguised = disguise(pictures, torch.Generator().manual_seed(0))
    shown = (disguised != 0).float().mean((1, 2, 3))
    assert shown.max() <= 1 - 64 / 1024  # at least a quarter of the square lies within
    assert shown.min() < 0.75
    assert disguised.detach().max(1).values.unique().numel() > 1000
    whole = pictures.detach()
    for row in range(3):  # what is shown is the picture, moved as a whole
        moved = [
            F.pad(whole[row], (4, 4, 4, 4))[:, down : down + 32, right : right + 32]
            for down in range(9)
            for right in range(9)
        ]
        assert any(((disguised[row] == there) | (disguised[row] == 0)).all() for there in moved)
    disguised.sum().backward()
    assert torch.equal(pictures.grad.sum((1, 2, 3)), (disguised != 0).float().sum((1, 2, 3)))


def test_an_average_lies_between_first_and_last():
    network = nn.BatchNorm1d(2)
    average = teaching._average(network, 0.5)
    average.update_parameters(network)
    with torch.no_grad():
        network.weight.fill_(3)
        network.running_mean.fill_(11)
    average.update_parameters(network)  # two elevenths are kept at first
    torch.testing.assert_close(average.module.weight, torch.full((2,), 3 - 2 * 2 / 11))
    torch.testing.assert_close(average.module.running_mean, torch.full((2,), 9.0))
    for _ in range(60):
        average.update_parameters(network)
    torch.testing.assert_close(average.module.weight, torch.full((2,), 3.0))


def test_the_rate_rises_stays_and_falls():
    rates = [rate(done) for done in counted(1000)]
    assert rates[0] < 0.1
    assert rates[100] == rates[400] == 1
    assert rates[750] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_a_third_is_given_back_a_third_joined_a_third_drawn(photographs):
    """A network that changes nothing shows it: of the drawn, only the whole distribution is the photographs'."""

    class Nothing(nn.Module):
        encoder = decoder = nn.Identity()

    real = to_signed(photographs[:180])
    kept, joined, drawn = making.remake(Nothing(), real, torch.Generator().manual_seed(0)).split(60)
    assert torch.equal(kept, real[:60])
    for one, first, second in zip(joined, real[60:120], real[60:120].roll(1, 0), strict=True):
        assert (one >= torch.minimum(first, second) - 1e-5).all()
        assert (one <= torch.maximum(first, second) + 1e-5).all()
        assert not torch.allclose(one, first)
    torch.testing.assert_close(drawn.mean(), real.mean(), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0).mean(), real.std(0).mean(), atol=0.1, rtol=0)


def test_a_perfect_denoiser_gives_the_photograph_back(photographs):
    """With the true velocity each step lies on the line from noise to the picture, however few they are."""
    real = to_signed(photographs[:8])

    class Perfect(nn.Module):
        def forward(self, x, time):
            return (x - real) / time[:, None, None, None]

    rng = torch.Generator().manual_seed(0)
    torch.testing.assert_close(making.denoise_photographs(Perfect(), real, rng), real, atol=1e-4, rtol=0)
    torch.testing.assert_close(making.denoise_noise(Perfect(), 8, rng), real, atol=1e-4, rtol=0)


def test_its_steps_are_of_second_order(monkeypatch):
    """Twice as many of them leave a quarter of the error, where the velocity changes on the way."""

    class Turning(nn.Module):
        def forward(self, x, time):
            return time[:, None, None, None].cos() * x

    start, errors = torch.ones(1, 3, 32, 32), []
    for steps in (10, 20):
        monkeypatch.setattr(making, "STEPS_OF_SAMPLING", steps)
        errors.append((making._denoise(Turning(), start, 1.0) - torch.tensor(-1.0).sin().exp()).abs().max())
    assert errors[1] < 0.35 * errors[0]


def test_a_denoiser_learns_to_tell_times_and_pictures(photographs):
    torch.manual_seed(0)
    network, real = TINY["denoiser"](), to_signed(photographs)
    noise, rng = torch.randn_like(real), Photographs(photographs, 0, batch=16)

    def error(network: nn.Module, time: float) -> float:
        guess = network(torch.lerp(real, noise, time), torch.full((len(real),), time))
        return F.mse_loss(guess, noise - real).item()

    before = error(network, 0.5)
    learnt = last(teaching.teach_denoiser(network, rng, counted(60)))
    assert error(learnt, 0.5) < 0.8 * before
    asked = torch.lerp(real, noise, 0.5)
    early, late = (learnt(asked, torch.full((len(real),), time)) for time in (0.1, 0.9))
    assert not torch.allclose(early, late, atol=1e-2)


def test_pixels_there_and_back(photographs):
    back = to_pixels(to_signed(photographs[:10]))
    assert (back.int() - photographs[:10].int()).abs().float().mean() < 4  # a JPEG's error
