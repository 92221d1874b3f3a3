"""The deployed template, which tests read instead of copying its resources."""

from ops.template import ROOT, resources, template

__all__ = ["ROOT", "resources", "template"]
