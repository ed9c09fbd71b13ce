"""From a source to a build context to an image."""
