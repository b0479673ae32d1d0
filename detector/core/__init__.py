"""Labels, paths, devices and the console: used by every other package."""
