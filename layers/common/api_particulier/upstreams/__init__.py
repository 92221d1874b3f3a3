"""The providers: one module each, all of one shape; only ``client`` speaks HTTP."""
