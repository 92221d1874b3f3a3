"""The deployed template, which tests read instead of copying its resources."""

from ops.template import ROOT, described_routes, resources, template

__all__ = ["ROOT", "described_routes", "resources", "template"]
