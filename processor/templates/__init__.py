"""A folder of TOML files to a compiled template set, with diagnostics."""
