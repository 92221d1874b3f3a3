"""The template, as tests read it: the tables of moto are those that are deployed, not copies of them."""

from ops.template import ROOT, resources, template

__all__ = ["ROOT", "resources", "template"]
