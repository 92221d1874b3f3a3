"""One function of the local stack in a container of Lambda's image (docs/decisions/0041-invoke.md)."""
