"""From nothing to a trained model: brings up cluster, images and chart, and runs the demonstration, tests and benchmarks there."""
