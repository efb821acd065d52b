"""Two tiny base models made by this package from a seed, and the data of the demo."""

from local_platform.basemodels.shipped import ShippedModel, shipped

__all__ = ["ShippedModel", "shipped"]
