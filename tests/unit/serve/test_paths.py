"""No request names a folder outside the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptune.core.errors import BundleError
from adaptune.serve.paths import below, bundles_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("root/reviews", "root/runs/places/bundle", "root/runs/.hidden", "outside"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "manifest.json").write_text("{}")
    (tmp_path / "root" / "inner").symlink_to(tmp_path / "root" / "reviews")
    return tmp_path / "root"


def test_a_folder_below_the_root_is_found(root: Path) -> None:
    assert below(root, "reviews") == root / "reviews"
    assert below(root, "runs/places/bundle") == root / "runs" / "places" / "bundle"
    assert below(root, "inner") == root / "reviews"


def test_a_link_out_of_the_root_is_refused(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    with pytest.raises(BundleError):
        below(root, "link")


@pytest.mark.parametrize(
    "asked",
    ["../outside", "reviews/../../outside", "/outside", "", "a\0b", "..\\outside", "~", "x" * 1001, "none"],
)
def test_every_other_place_is_refused(root: Path, asked: str) -> None:
    with pytest.raises(BundleError):
        below(root, asked)


def test_an_absolute_path_is_refused_even_of_a_bundle_below(root: Path) -> None:
    with pytest.raises(BundleError, match="below the server's folder"):
        below(root, str(root / "reviews"))


def test_bundles_are_found_by_their_manifests(root: Path) -> None:
    found = {name: folder.relative_to(root.resolve()).as_posix() for name, folder in bundles_below(root)}
    assert found == {"inner": "inner", "reviews": "reviews", "places": "runs/places/bundle"}


def test_a_link_out_of_the_root_is_refused_at_the_start(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    with pytest.raises(BundleError, match="a link out of"):
        list(bundles_below(root))


def test_a_root_that_is_a_bundle_is_one(root: Path) -> None:
    assert [name for name, _ in bundles_below(root / "reviews")] == ["reviews"]
