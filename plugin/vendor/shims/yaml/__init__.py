"""PyYAML without its front: only the way from text to nodes is bundled; the original would import the rest."""
