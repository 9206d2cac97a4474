"""Tensors on disk: what is written comes back, and nothing else is opened."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from adaptune.bundle.weights import read_tensors, write_tensors
from adaptune.core.errors import BundleError


def test_tensors_come_back_equal_also_where_they_share_memory(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    write_tensors({"whole": whole, "row": whole[1], "turned": whole.T}, tmp_path / "w.safetensors")
    back = read_tensors(tmp_path / "w.safetensors")
    assert back["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert back["row"].tolist() == [3, 4, 5]
    assert back["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_sum_of_a_file_is_returned(tmp_path: Path) -> None:
    digest = write_tensors({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    assert digest == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()


def test_other_users_may_read_the_file_as_they_may_read_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_tensors({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o644


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was opened",)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(BundleError, match="is no safetensors file"):
        read_tensors(file)
