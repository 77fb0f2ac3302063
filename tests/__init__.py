"""The suite; a package, as a package of its name may be installed by others."""
