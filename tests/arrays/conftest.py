"""Tests that take `zarr_format` run for both generations."""

import pytest


@pytest.fixture(params=[2, 3], ids=["zarr2", "zarr3"])
def zarr_format(request):
    return request.param
