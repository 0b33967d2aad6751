"""What all tests share: no network, a home of their own, and no deadlines on a busy machine."""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and their models are tiny

settings.register_profile("lmwb", deadline=None)
settings.load_profile("lmwb")


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: tests of processes and terminals mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _home(tmp_path_factory, monkeypatch):
    """Whatever a test does, it never touches the user's own history."""
    monkeypatch.setenv("LMWB_HOME", str(tmp_path_factory.mktemp("home")))
