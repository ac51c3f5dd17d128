"""Reports: one document from a run's evidence, and the renderers that draw nothing but that document."""
